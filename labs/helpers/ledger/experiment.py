"""What an experiment is: one function measures facts, and a pure one decides what they say of the claim."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from types import CodeType
from typing import Any

from grader.errors import LabError, UnknownName
from grader.model import Facts

THEMES = ("dispatching", "serving", "building", "storing", "forms", "computing", "walked", "accelerated")
MODELS = ("demo_embedder", "demo_classifier")


class Outcome(StrEnum):
    CONFIRMED = "confirmed"
    REFUTED = "refuted"
    DEPENDS = "depends"  # true under conditions that `why` names
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Said:
    """What facts say of a claim, and why, in one sentence with their figures."""

    outcome: Outcome
    why: str


class NotRun(LabError):
    """The machine lacks what the experiment needs: `problem` says what, `remedy` how to get it."""


@dataclass(frozen=True)
class Place:
    """Where an experiment may work. `scratch` is empty and is removed afterwards; `works` are the workspaces that may
    hold saved models and measured predictions, the first one first."""

    kit: Path
    scratch: Path
    works: tuple[Path, ...] = ()

    def store(self) -> Path:
        """The first store with both models. Raises NotRun."""
        for work in self.works:
            if all((work / "store" / "models" / name / "latest").is_file() for name in MODELS):
                return work / "store"
        raise NotRun("No workspace holds both saved models.", "`./lab walk` makes one, or do lab 01.")


Measure = Callable[[Place], Facts]
Decide = Callable[[Facts], Said]


@dataclass(frozen=True)
class Experiment:
    """`minutes`: it takes more than some seconds, so `--quick` leaves it out."""

    measure: Measure
    decide: Decide
    minutes: bool = False

    def digest(self) -> str:
        """Of its two functions as they are written, with what they use of their theme: facts of another experiment
        are no evidence."""
        parts: dict[str, str] = {}
        for function in (self.measure, self.decide):
            add_parts(function, parts)
        return hashlib.sha256("".join(parts[name] for name in sorted(parts)).encode()).hexdigest()[:16]


def add_parts(function: Any, parts: dict[str, str]) -> None:
    """The source of the function, and of the functions and constants of its module that it uses, by name."""
    parts[function.__qualname__] = inspect.getsource(function)
    for name in names_in(function.__code__):
        part = function.__globals__.get(name)
        if inspect.isfunction(part) and part.__module__ == function.__module__ and part.__qualname__ not in parts:
            add_parts(part, parts)
        elif isinstance(part, str | int | float | tuple | dict):
            parts[name] = repr(part)


def names_in(code: CodeType) -> set[str]:
    """All names that the code looks up, inside comprehensions and functions in it, too."""
    inner = [part for part in code.co_consts if isinstance(part, CodeType)]
    return {*code.co_names, *(name for part in inner for name in names_in(part))}


def experiment(decide: Decide, minutes: bool = False) -> Callable[[Measure], Experiment]:
    """Marks `measure(place) -> facts`; `decide(facts) -> Said` judges the facts, and nothing else."""
    return lambda measure: Experiment(measure, decide, minutes)


def find(name: str) -> Experiment:
    """By "theme.function". Raises UnknownName."""
    theme, _, function = name.partition(".")
    if theme not in THEMES:
        raise UnknownName("theme of experiments", theme, list(THEMES))
    parts = vars(import_module(f"labs.helpers.ledger.{theme}"))
    if not isinstance(found := parts.get(function), Experiment):
        raise UnknownName(
            f"experiment in {theme}", function, [k for k, v in parts.items() if isinstance(v, Experiment)]
        )
    return found
