"""Round by round, each in an order by lot, so that no drift of the machine favours one; the yardstick in between."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from grader.processes import run
from grader.progress import Progress
from grader.world.load import machine
from speed.measures import Measure, NotMeasured, Place, measure_yardstick

Say = Callable[[str], None]
Taken = dict[str, dict[str, list[float]]]


def measure_all(measures: Sequence[Measure], places: Sequence[Place], rounds: int, say: Say) -> dict[str, Any]:
    """A run, as its file will say it: of the first place, and `of` the second, if there is one."""
    made, load, yard = now(), os.getloadavg()[0], list[float]()
    taken: list[Taken] = [{} for _ in places]
    troubles: list[dict[str, str]] = [{} for _ in places]
    for label, some in in_rounds(measures, len(places), rounds):
        yard.append(told("yardstick", lambda: measure_yardstick(places[0]), say))
        for which, measure in some:
            take(measure, places[which], taken[which], troubles[which], label, say)
    yard.append(told("yardstick", lambda: measure_yardstick(places[0]), say))
    whole = {
        "made": made, "ended": now(), "commit": commit_of(places[0].root), "machine": machine.facts(), "rounds": rounds,
        "load": round(load, 2), "yardstick": yard, "measures": taken[0], "not_measured": troubles[0],
    }  # fmt: skip
    if len(places) > 1:
        other = {"commit": commit_of(places[1].root), "measures": taken[1], "not_measured": troubles[1]}
        return {**whole, "of": other}
    return whole


def in_rounds(measures: Sequence[Measure], places: int, rounds: int) -> Iterator[tuple[str, list[tuple[int, Measure]]]]:
    """(label, what is measured where): in an order by lot, and then what takes minutes, in the first place alone."""
    often = [(which, measure) for measure in measures if not measure.once for which in range(places)]
    for number in range(1, rounds + 1) if often else []:
        yield f"round {number}: ", random.sample(often, len(often))
    yield from (("", [(0, measure)]) for measure in measures if measure.once)


def take(measure: Measure, place: Place, into: Taken, troubles: dict[str, str], label: str, say: Say) -> None:
    if measure.name in troubles:
        return
    try:
        took = told(f"{label}{measure.name} ({place.root.name})", lambda: measure.act(place), say)
    except NotMeasured as why:
        troubles[measure.name] = why.problem
        say(f"{measure.name} is not measured: {why.problem}")
        return
    into.setdefault(measure.name, {"seconds": []})["seconds"].append(took)


def told(label: str, act: Callable[[], float], say: Say) -> float:
    with Progress(label, beat=30):
        took = round(act(), 2)
    say(f"{label}: {took:.2f} s")
    return took


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def commit_of(root: Path) -> str:
    """With a plus where files differ from it."""
    head = run(["git", "rev-parse", "--short=12", "HEAD"], 20, root)
    dirty = run(["git", "status", "--porcelain", "--untracked-files=no"], 20, root)
    return head.stdout.strip() + ("+" if dirty.stdout.strip() else "") if head.ok else ""
