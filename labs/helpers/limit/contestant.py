"""Who is measured. A contestant is data, so the reference, a step of the ladder and a peer are measured alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from grader.errors import LabError
from grader.model import Facts
from grader.world.servers import role_of

TEXT = "%TEXT%"


class Running(Protocol):
    """A server that was started (`grader.world.servers.Served` is one): ready when `problem` is empty. Its processes,
    and no others, carry `mark` (`grader.processes.started` gives it). Several servers that are measured as one also
    have `urls` and `marks`."""

    @property
    def url(self) -> str: ...
    @property
    def mark(self) -> str: ...
    @property
    def problem(self) -> str: ...
    @property
    def seconds(self) -> float: ...
    def log(self) -> str: ...


class WrongAnswers(LabError):
    """`name` answers otherwise than the reference: nothing that was measured of it counts."""

    def __init__(self, name: str, found: str, wanted: str) -> None:
        super().__init__(f"{name} answers {found}; the reference {wanted}.")
        self.name, self.found, self.wanted = name, found, wanted


def anything(_: str) -> Facts:
    return {}


@dataclass(frozen=True)
class Contestant:
    """`start` opens a running server and ends it, by its mark, when the block is left. `check(url)` raises
    WrongAnswers, or gives facts for the entry. `template`: a request's body, JSON with %TEXT% where the text goes."""

    name: str
    says: str  # one line, for people
    start: Callable[[], AbstractContextManager[Running]]
    path: str = "/classify"
    template: str = '{"texts": ["%TEXT%"]}'
    check: Callable[[str], Facts] = anything
    facts: Facts = field(default_factory=dict)
    role: Callable[[Sequence[str]], str] = lambda words: role_in(words)


def role_in(command: Sequence[str]) -> str:
    """A short name for a process: "api", a runner's, or the module or program that it runs."""
    line = " ".join(command)
    for known in ("bentoml serve", "resource_tracker"):
        if known in line:
            return known
    return role_of(list(command)) or last_word(command)


def last_word(command: Sequence[str]) -> str:
    words = [word for word in command if word and not word.startswith("-")]
    return (words[-1] if words else "").rsplit("/", 1)[-1][:40] or "other"
