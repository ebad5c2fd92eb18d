"""The stated conditions, the six teams and the bill, shown; and what of choice/cards.toml does not hold."""

from __future__ import annotations

import textwrap
import tomllib
from pathlib import Path

from grader.errors import LabError
from grader.world.layers import broken, stated

FILE, BILL = Path("choice/cards.toml"), Path("choice/bill.toml")


def show_layers() -> None:
    for name, words in stated()["layers"].items():
        print(f"{name:<12}{words}")


def show_conditions() -> None:
    """Each condition, and the layers that break it, with why."""
    for name, condition in stated()["conditions"].items():
        print(f"{name:<16}{condition['says']} ({condition['as_of']})")
        for layer, why in condition.get("breaks", {}).items():
            print(f"{'':<16}  {layer} does not: {why}")


def show_cards() -> None:
    for name, card in stated()["cards"].items():
        print(textwrap.fill(f"{name}: {card['says']}", 100, subsequent_indent="    "))
        print(f"    asks for: {', '.join(card['asks'])}")


def show_bill() -> None:
    """What Yatai wants beside itself, what could be meant, and the questions to BentoCloud."""
    print("Yatai wants something for:")
    for name, row in stated()["bill"].items():
        print(f"  {name:<14}{row['says']}")
    print("It could be:", ", ".join(f"{letter} {thing}" for letter, thing in stated()["things"].items()))
    print("To BentoCloud:")
    for name, row in stated()["questions"].items():
        print(f"  {name:<14}{row['says']}")
    print("An answer decides one of these conditions:", ", ".join(stated()["conditions"]))


def look() -> None:
    """What each card's answer meets and breaks."""
    for name, card in tomllib.loads(FILE.read_text()).items():
        print(f"{name:<16}{card['layer']}: {told(name, card['layer'])}")


def told(name: str, layer: str) -> str:
    if name not in stated()["cards"] or layer not in stated()["layers"]:
        return "no card or no layer of that name"
    if why := broken(name, layer):
        return "; ".join(f"breaks {condition}, since {text}" for condition, text in why.items())
    return f"meets {', '.join(stated()['cards'][name]['asks'])}"


def holds() -> bool:
    """Whether no chosen layer breaks a condition of its card."""
    cards = tomllib.loads(FILE.read_text())
    return all(told(name, card["layer"]).startswith("meets") for name, card in cards.items())


def parts_to_run() -> int:
    """Of your bill: how many parts of Yatai's the lab does not have yet."""
    if not BILL.is_file():
        raise LabError(f"There is no {BILL} yet.", "Run the cell that writes it: it has a TODO.")
    return sum(not row["lab"] for row in tomllib.loads(BILL.read_text())["yatai"].values())
