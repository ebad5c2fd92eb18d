"""Which mutants and right submissions are tried when there is no time for all: what changed last, then in turn.

A turn is a day: what one run has no time for comes first in another. With a whole history git says what changed; with a
shallow one (a hosted runner's) the date alone decides.
"""

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import TypeVar

from grader.kit import Kit
from mutants.recordings import imported

T = TypeVar("T")
STRIDE = 7  # items a day: with 40 tries a criterion, all have their turn within a week


def changed_at(kit: Kit, short: str) -> int:
    """When a criterion, or what its probes import, was last changed (a commit's time); 0 if git cannot tell."""
    path = kit.criteria_dir / f"{short}.py"
    files = [*kit.criteria_dir.glob(f"{short}.*"), *imported(path, kit.root)] if path.is_file() else []
    if not files or _git(kit.root, "rev-parse", "--is-shallow-repository") != "false":
        return 0
    return int(_git(kit.root, "log", "-1", "--format=%ct", "--", *map(str, files)) or 0)


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def rotate(items: Sequence[T], day: int) -> list[T]:
    """The same items, begun where that day's turn begins."""
    start = day * STRIDE % len(items) if items else 0
    return [*items[start:], *items[:start]]


def order(kit: Kit, tries: dict[str, list[T]], day: int | None = None) -> tuple[list[T], list[T]]:
    """(what changed last, the others in turn): of `tries`, a list for each criterion. One criterion after the other,
    another one first each day: its control is paid for once."""
    day = date.today().toordinal() if day is None else day
    when = {short: changed_at(kit, short) for short in tries}
    newest = {s for s in tries if when[s] and when[s] == max(when.values())}
    start = day % len(tries) if tries else 0
    shorts = [*list(tries)[start:], *list(tries)[:start]]
    first = [t for s in shorts if s in newest for t in rotate(tries[s], day)]
    return first, [t for s in shorts if s not in newest for t in rotate(tries[s], day)]


def within(seconds: float, first: list[T], then: list[T], clock: Callable[[], float] = time.monotonic) -> Iterator[T]:
    """Gives out `first` for half of the time, then `then`, then what is left, until the time is over; what is given
    out last has the time of the slowest so far to spare."""
    began, slowest, early = clock(), 0.0, list(first)
    late = list(then)
    while early or late:
        used = clock() - began
        if used + slowest > seconds:
            return
        queue = early if early and (used < seconds / 2 or not late) else late
        at = clock()
        yield queue.pop(0)
        slowest = max(slowest, clock() - at)
