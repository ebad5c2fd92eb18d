"""What was released: a store's newest Bento, the image that deploy/release.json names, and three tickets to ask."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from grader.model import Facts

NAME = "demo_text_intelligence"
TEXTS = {  # tickets that any release must label so
    "You charged my card two times this month": "billing",
    "My parcel has not arrived yet": "shipping",
    "I forgot my password and cannot log in": "account",
}


def ask_apart(ask: Callable[[list[str]], Facts]) -> Facts:
    """The answer to these tickets (status, body, problem). One that is good for all three at once, and not in the
    opposite order or for each alone, has that as its problem: most callers send a single text."""
    told = ask(list(TEXTS))
    label = dict(zip(TEXTS, labels_in(told), strict=False))
    for part in (list(TEXTS)[::-1], *([text] for text in TEXTS)):
        if told["problem"] or len(label) < len(TEXTS):
            break
        again = ask(part)
        if labels_in(again) != [label[text] for text in part]:
            shown = again["problem"] or str(again.get("body"))[:120]
            told |= {key: again[key] for key in ("late",) if key in again}
            told["problem"] = f"{'in another order' if part[1:] else 'alone'} they get {shown}"
    return told


def labels_in(told: Facts) -> list[Any]:
    body = told.get("body")
    labels = body.get("labels") if isinstance(body, dict) else None
    return labels if isinstance(labels, list) else []


def newest(store: Path) -> str:
    """The version of the newest Bento of our name; "" where there is none."""
    pointer = store / "bentos" / NAME / "latest"
    return pointer.read_text().strip() if pointer.is_file() else ""


def released(root: Path) -> Facts:
    """What deploy/release.json says: the name that the cluster will pull, and the Bento that is in it."""
    try:
        found = json.loads((root / "deploy" / "release.json").read_text(encoding="utf-8-sig"))
        return {"release": str(found["image"]), "release_bento": str(found.get("bento", "")), "release_problem": ""}
    except FileNotFoundError:
        problem = "there is no deploy/release.json"
    except (ValueError, KeyError, TypeError, AttributeError) as wrong:
        problem = f"deploy/release.json: {type(wrong).__name__}: {wrong}"
    return {"release": "", "release_bento": "", "release_problem": problem}


def untagged(name: str) -> str:
    """repository@digest of a name that may have a tag as well, which a digest overrules."""
    return re.sub(r":[\w.-]+@", "@", name)
