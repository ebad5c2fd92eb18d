"""What an experiment is: one function measures facts, and a pure one decides what they say of the claim."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from pathlib import Path

from grader.errors import LabError, UnknownName
from grader.model import Facts

THEMES = ("dispatching", "serving", "building", "storing", "forms", "computing", "walked")
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
        """Of its two functions as they are written: facts of another experiment are no evidence."""
        source = inspect.getsource(self.measure) + inspect.getsource(self.decide)
        return hashlib.sha256(source.encode()).hexdigest()[:16]


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
