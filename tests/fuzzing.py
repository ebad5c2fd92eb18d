"""Kept evidence, and what is done to it: each fact of it put to its plausible wrong values, one after the other.

A *spot* is the name of a fact, with a star for each list's items and for each key that the kit does not write itself:
`bento.files.*.size`. A *survivor* is a wrong value with which every check still passes, or the grader itself breaks.
"""

from __future__ import annotations

import ast
import copy
import json
import math
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from grader.judge import judge_criterion
from grader.kit import ROOT
from grader.model import Criterion, Evidence, Verdict

Path_ = tuple[Any, ...]
HUGE = 10**12
MOST_KEYS = 12  # of a dictionary whose keys the world writes: more of one kind than this are not each tried
KEPT = ROOT / "tests" / "evidence"


def read_evidence(path: Path) -> dict[str, Evidence]:
    return {name: Evidence(**kept) for name, kept in json.loads(path.read_text()).items()}


# ---------------------------------------------------------------- what is read


class Seen(dict[str, Any]):
    """Facts that note which of them a check reaches for."""

    def __init__(self, facts: dict[str, Any], note: Callable[[Path_], None], here: Path_ = ()) -> None:
        super().__init__(facts)
        self.note, self.here = note, here

    def __getitem__(self, key: str) -> Any:
        self.note((*self.here, key))
        return watched(super().__getitem__(key), self.note, (*self.here, key))

    def get(self, key: str, default: Any = None) -> Any:
        return self[key] if key in self else default  # noqa: SIM401 (this is what notes it)

    def __iter__(self) -> Iterator[str]:  # so that {**facts} asks for each, too
        return iter(list(super().keys()))

    def values(self) -> Any:
        return [self[key] for key in self]

    def items(self) -> Any:
        return [(key, self[key]) for key in self]

    def __eq__(self, other: object) -> bool:
        return dict(self.items()) == other

    __hash__ = None


class SeenList(list[Any]):
    def __init__(self, facts: list[Any], note: Callable[[Path_], None], here: Path_) -> None:
        super().__init__(facts)
        self.note, self.here = note, here

    def __iter__(self) -> Iterator[Any]:
        for i, value in enumerate(super().__iter__()):
            self.note((*self.here, i))
            yield watched(value, self.note, (*self.here, i))

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return list(self)[key]
        super().__getitem__(key)  # raises where there is none
        return next(value for i, value in enumerate(self) if i == key % len(self))

    def __eq__(self, other: object) -> bool:
        return list(self) == other

    __hash__ = None


def watched(value: Any, note: Callable[[Path_], None], here: Path_) -> Any:
    if isinstance(value, dict):
        return Seen(value, note, here)
    return SeenList(value, note, here) if isinstance(value, list) else value


# ---------------------------------------------------------------- where facts lie


@cache
def own_keys() -> frozenset[str]:
    """Every word that stands in the criteria and in what looks at the world for them: the keys that the kit writes."""
    places = [*(ROOT / "grader" / "criteria").glob("*.py"), *(ROOT / "grader" / "world").rglob("*.py")]
    trees = [ast.parse(path.read_text()) for path in places]
    words = (n.value for t in trees for n in ast.walk(t) if isinstance(n, ast.Constant))
    return frozenset(word for word in words if isinstance(word, str))


def spot(probe: str, path: Path_) -> str:
    return ".".join([probe, *(s if isinstance(s, str) and s in own_keys() else "*" for s in path)])


def every_path(value: Any, here: Path_ = ()) -> Iterator[Path_]:
    """The path of every fact; of what the world may have many of, the first two and the last."""
    if here:
        yield here
    keys: list[Any] = list(value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else [])
    if isinstance(value, list) or (len(keys) > MOST_KEYS and not set(keys) <= own_keys()):
        keys = [keys[i] for i in sorted({0, 1, len(keys) - 1} & set(range(len(keys))))]
    for key in keys:
        yield from every_path(value[key], (*here, key))


def at(facts: Any, path: Path_) -> Any:
    for step in path:
        facts = facts[step]
    return facts


def put(facts: Any, path: Path_, value: Any) -> Any:
    """A copy with that value there; what lies beside the path is shared."""
    if not path:
        return value
    changed = copy.copy(facts)
    changed[path[0]] = put(facts[path[0]], path[1:], value)
    return changed


# ---------------------------------------------------------------- wrong values


def wrong_values(facts: Any, path: Path_) -> Iterator[tuple[str, list[Any]]]:
    """(kind, values) of what could stand there and would be wrong; of several values one has to fail."""
    value = at(facts, path)
    if isinstance(value, bool):
        yield "other", [not value]
    elif isinstance(value, int | float):
        yield from {"zero": [0], "negative": [-1], "huge": [HUGE]}.items()
        if isinstance(value, float):
            yield "nan", [math.nan]
    elif isinstance(value, str):
        yield "other", ["other"]
        yield from [("empty", [""]), ("changed", [f"{value}x"])] if value else []
    elif isinstance(value, list):
        yield from [("empty", [[]]), ("dropped", [value[:-1]])] if value and is_row(value) else []
        if is_row(value) or not value:
            yield "more", [[*value, extra] for extra in ([value[-1], "other"] if value else GUESSES)]
    elif isinstance(value, dict):
        yield "empty", [{}]
        for key in value:
            yield "missing", [{k: v for k, v in value.items() if k != key}]
    else:
        yield "something", ["other", 1, True, -1.5, ["other"]]
    yield from neighbours(facts, path)


GUESSES = ["other", ["other", "other"], ["setting", "other"], [{}, 3.0], {}]


def is_row(value: list[Any]) -> bool:
    """Items of one kind, of which there may be more or fewer; a pair of unlike things is a record."""
    return len({type(v) for v in value}) == 1


def neighbours(facts: Any, path: Path_) -> Iterator[tuple[str, list[Any]]]:
    """What stands in the same place of another item: two that should differ are the same then."""
    for depth in range(len(path) - 1, 0, -1):
        group = at(facts, path[:depth])
        if isinstance(group, list) and len(group) > 1 and all(isinstance(item, dict) for item in group):
            other = group[path[depth] - 1]
            try:
                value = at(other, path[depth + 1 :])
            except (LookupError, TypeError):
                return
            if not isinstance(value, dict | list):
                yield "its neighbour's", [value]
            return


class Fuzzed:
    """What came of one criterion's evidence: `spots` of all facts, those that were `read`, and the survivors."""

    def __init__(self, criterion: Criterion, evidence: dict[str, Evidence]) -> None:
        self.criterion, self.evidence, self.tried = criterion, evidence, 0
        self.spots: set[str] = set()
        self.reached: dict[str, set[Path_]] = {probe: set() for probe in evidence}
        self.survivors: dict[str, dict[str, str]] = {}  # spot -> kind -> an example
        for probe in evidence:
            self.fuzz(probe)
        self.read = {spot(probe, path) for probe, paths in self.reached.items() for path in paths}

    def judge(self, probe: str, facts: Any, watch: bool) -> set[Verdict]:
        seen = Seen(facts, self.reached[probe].add) if watch else facts
        changed = {**self.evidence, probe: Evidence(probe, seen)}
        self.tried += 1
        return {c.verdict for c in judge_criterion(self.criterion, changed).checks}

    def fuzz(self, probe: str) -> None:
        facts, kinds = self.evidence[probe].facts, set[tuple[str, str]]()
        for path in every_path(facts):
            name, right = spot(probe, path), at(facts, path)
            self.spots.add(name)
            for kind, values in wrong_values(facts, path):
                new = (name, kind) not in kinds  # the second of a list is read as the first was
                kinds.add((name, kind))
                tried = [self.judge(probe, put(facts, path, v), watch=new) for v in values if v != right]
                caught = any(Verdict.FAIL in verdicts for verdicts in tried)
                if tried and not caught and not self.may_err(kind, right, tried):
                    self.survivors.setdefault(name, {})[kind] = f"{'.'.join(map(str, path))} = {str(values[0])[:60]}"

    def may_err(self, kind: str, right: Any, tried: list[set[Verdict]]) -> bool:
        """A key of the kit's own that is not there is damaged evidence, which no probe gives: an error says so."""
        ours = isinstance(right, dict) and set(right) <= own_keys()
        return kind in ("missing", "empty") and ours and all(Verdict.ERROR in verdicts for verdicts in tried)

    def unread(self) -> set[str]:
        """The spots that no check reached, whatever the facts said; of a whole that nobody opened, the whole alone."""
        closed = self.spots - self.read
        return {s for s in closed if s.rpartition(".")[0] not in closed}

    def idle(self) -> set[str]:
        """`spot: kind` of each survivor, and `spot: unread`."""
        told = {f"{s}: {kind}" for s, kinds in self.survivors.items() if s in self.read for kind in kinds}
        return told | {f"{s}: unread" for s in self.unread()}
