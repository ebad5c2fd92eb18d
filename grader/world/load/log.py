"""The log of a load: one line a request, and what its sender says of itself."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from grader.model import Facts

Numbers = npt.NDArray[np.float64]
LARGEST = 64 << 20  # bytes of a log that is still read: some 1,500,000 requests


class Request(NamedTuple):
    """Seconds since the load began. `end` is a status ("200", "503"), or what came instead ("timeout", "refused")."""

    user: int
    scheduled: float
    sent: float
    ended: float
    end: str


@dataclass(frozen=True)
class Log:
    """`sender`: loop, users or rate, seconds, began (time.monotonic()), cpu (cores it used), idle (share of the machine
    that nobody used)."""

    requests: list[Request]
    sender: Facts = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.requests)

    def between(self, begin: float, end: float) -> Log:
        """The requests that ended in [begin, end)."""
        return Log([r for r in self.requests if begin <= r.ended < end], self.sender)

    def ends(self) -> dict[str, int]:
        """How many requests ended how."""
        return dict(sorted(Counter(r.end for r in self.requests).items()))

    def column(self, name: str) -> Numbers:
        return np.array([getattr(r, name) for r in self.requests], dtype=float)

    def save(self, folder: Path) -> None:
        write_requests(folder / "requests.csv", self.requests)
        (folder / "sender.json").write_text(json.dumps(self.sender, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Log:
        """What save() wrote. Raises ValueError when it is too large or no log."""
        sender = folder / "sender.json"
        return cls(read_requests(folder / "requests.csv"), json.loads(sender.read_text()) if sender.is_file() else {})


def write_requests(path: Path, requests: Sequence[Request]) -> None:
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(Request._fields)
        rows.writerows([r.user, f"{r.scheduled:.5f}", f"{r.sent:.5f}", f"{r.ended:.5f}", r.end] for r in requests)


def read_requests(path: Path) -> list[Request]:
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path.name} has more than {LARGEST >> 20} MiB")
    with path.open(newline="") as file:
        rows = csv.reader(file)
        if (head := tuple(next(rows, ()))) != Request._fields:
            raise ValueError(f"{path.name} begins with {','.join(head)!r}, not with {','.join(Request._fields)!r}")
        try:
            return [
                Request(int(user), float(due), float(sent), float(ended), end) for user, due, sent, ended, end in rows
            ]
        except ValueError as wrong:
            raise ValueError(f"{path.name}, line {rows.line_num}: {wrong}") from wrong
