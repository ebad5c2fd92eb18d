"""Rounds of several contestants in an order that no drift favours, raw between them; goes on where it stopped."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from grader.errors import LabError
from grader.model import Facts
from grader.progress import Progress
from grader.workspace import write_atomic
from labs.helpers.limit import rounds
from labs.helpers.limit.asker import Load
from labs.helpers.limit.contestant import Contestant
from labs.helpers.limit.yardstick import Yardstick

Say = Callable[[str], None]
# Cores: a round beside which other programs used more is put away, and measured again. LAB_OTHERS=2 keeps all.
OTHERS = float(os.environ.get("LAB_OTHERS", "0.15"))
TRIES = 3  # of each round, however busy the machine is


class AnotherPlan(LabError):
    """The run folder `folder` was begun with another plan."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"{folder} holds a run of another plan.", "Finish it with its own options, or begin with --fresh."
        )
        self.folder = folder


@dataclass(frozen=True)
class Plan:
    """`kind` names the run (ladder, growth, peers). Each contestant is measured under each of the `loads`."""

    kind: str
    names: tuple[str, ...]
    rounds: int = 3
    seed: int = 18
    loads: tuple[Load, ...] = (Load(),)
    raw_seconds: float = 3.0
    facts: Facts = field(default_factory=dict)

    def order(self) -> list[tuple[int, str, Load]]:
        """(round, name, load): each round has a random order of its own, which the seed decides."""
        chance, found = random.Random(self.seed), list[tuple[int, str, Load]]()
        for number in range(1, self.rounds + 1):
            pairs = [(name, load) for name in self.names for load in self.loads]
            found += [(number, name, load) for name, load in chance.sample(pairs, len(pairs))]
        return found

    def told(self) -> Facts:
        return {**asdict(self), "names": list(self.names), "loads": [asdict(load) for load in self.loads]}


def run(
    plan: Plan, contestants: Sequence[Contestant], folder: Path, service: Path, minutes: float = 0, say: Say = print
) -> bool:
    """Measures what is not measured yet, for at most `minutes` (0: to its end), and returns whether the run is whole.
    `service` is the folder with the reference's preprocessing and weights. Raises AnotherPlan."""
    folder.mkdir(parents=True, exist_ok=True)
    begin(plan, folder)
    known = {contestant.name: contestant for contestant in contestants}
    todo = [(place, *one) for place, one in enumerate(plan.order(), 1) if not path_of(folder, place, one[1]).exists()]
    deadline, longest, done = time.monotonic() + 60 * minutes, 0.0, 0
    if not todo:
        return True
    with Yardstick(service) as raw:
        before, tokens, queue = 0.0, -1, list(todo)
        while queue:
            place, number, name, load = queue.pop(0)
            began, done = time.monotonic(), done + 1
            if minutes and began + longest > deadline:
                return False
            with Progress(f"{done} of {len(todo)}: {name}, round {number}"):
                if load.tokens != tokens:
                    before, tokens = raw.measure(plan.raw_seconds, load.tokens), load.tokens
                entry = rounds.measure(known[name], load, place)
                after = raw.measure(plan.raw_seconds, load.tokens)
            entry = {"round": number, **entry, **beside(entry, before, after)}
            put = putting(folder, place, name, entry)
            write_atomic(put, (json.dumps(entry, indent=1) + "\n").encode())
            if put != path_of(folder, place, name):
                queue.append((place, number, name, load))
            say(line(entry, done, len(todo)))
            before, longest = after, max(longest, time.monotonic() - began)
    return True


def begin(plan: Plan, folder: Path) -> None:
    told = json.dumps(plan.told(), indent=1) + "\n"
    path = folder / "plan.json"
    if path.exists() and json.loads(path.read_text()) != json.loads(told):
        raise AnotherPlan(folder)
    write_atomic(path, told.encode())


def path_of(folder: Path, place: int, name: str) -> Path:
    return folder / f"{place:03}-{name}.json"


def putting(folder: Path, place: int, name: str, entry: Facts) -> Path:
    """Where an entry goes: among those that count, or, since other programs disturbed it, beside them."""
    tries = [folder / f"refused-{place:03}-{name}-{number}.json" for number in range(1, TRIES)]
    left = next((path for path in tries if not path.exists()), None)
    return left if left and entry.get("others", 0.0) > OTHERS else path_of(folder, place, name)


def beside(entry: Facts, before: float, after: float) -> Facts:
    """The yardstick before and after a round, and R: good answers to raw texts."""
    raw = (before + after) / 2
    told = {"raw_before": round(before, 1), "raw_after": round(after, 1), "raw": round(raw, 1)}
    return told if entry["problem"] else {**told, "r": round(entry["goodput"] / raw, 4)}


def line(entry: Facts, done: int, count: int) -> str:
    where = f"{done} of {count}: {entry['name']} ({entry['load']['clients']} clients)"
    if entry["problem"]:
        return f"{where}: {entry['problem'].splitlines()[0]}"
    bad = {end: number for end, number in entry["ends"].items() if end != "200"}
    ends = f", besides {bad}" if bad else ""
    cores = ", ".join(f"{role} {used:.2f}" for role, used in entry["cores"].items() if used >= 0.01)
    disturbed = f"; OTHERS USED {entry['others']:.2f} CORES" if entry["others"] > OTHERS else ""
    return (
        f"{where}: {entry['goodput']:.0f}/s of raw {entry['raw']:.0f}, R {entry['r']:.2f}, p50 {entry['p50_ms']:.0f}, "
        f"p95 {entry['p95_ms']:.0f} ms{ends}; busy {entry['busy']:.0%}: {cores}{disturbed}"
    )


def refused(folder: Path) -> list[Facts]:
    """Of each round that was put away since others used the machine: what it gave, in short."""
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("refused-*.json"))]
    return [{key: one[key] for key in ("name", "round", "at", "others", "r", "p95_ms") if key in one} for one in found]


def entries(folder: Path) -> list[Facts]:
    """Of a run folder, in the order in which they were measured."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("[0-9]*.json"))]
