"""Reads a kit from disk: its settings, criteria, needs. A criterion is found by its file; no list names it.

    grader/kit.toml, needs.toml, criteria/sc1.toml + sc1.py + sc1.mutants.toml; solutions/NN_name.py; labs/

LAB_KIT names another kit's root (the tests' toykit).
"""

import os
import re
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from grader.errors import BadKit, UnknownName
from grader.model import Check, Criterion, Facts, Finding, Probe

ROOT = Path(__file__).resolve().parent.parent


def probe(limit: float, needs: tuple[str, ...] = (), ahead: bool = False) -> Callable[[Callable[..., Facts]], Probe]:
    """Marks a function `look(workspace) -> facts` as a probe that is killed after `limit` seconds. `needs`: names of
    needs.toml that the criterion's other probes do without. `ahead`: it may look beside others."""
    return lambda function: Probe(_dashed(function), function, limit, needs, ahead)


def check(probe: Probe, after: Check | list[Check] | None = None) -> Callable[[Callable[[Facts], Finding]], Check]:
    """Marks a pure function `facts -> Finding` as a check of that probe's facts."""
    earlier = [after] if isinstance(after, Check) else after or []
    return lambda function: Check(_dashed(function), probe.name, function, tuple(c.id for c in earlier))


def _dashed(function: Callable[..., Any]) -> str:
    return function.__name__.replace("_", "-")


@dataclass(frozen=True)
class Lab:
    """One notebook: `number` 01, `name` 01_save_two_models, and the front matter of its source."""

    number: str
    name: str
    source: Path
    front: Facts

    @property
    def notebook(self) -> str:
        return f"{self.name}.ipynb"

    @property
    def aside(self) -> bool:
        """Left out of the walk unless it is named; no other lab builds on it."""
        return not self.front.get("walk", True)


class Kit:
    """A kit on disk, read lazily: `criteria()` imports nothing heavy, since probes import inside themselves."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = (root or Path(os.environ.get("LAB_KIT") or ROOT)).resolve()
        self.criteria_dir = self.root / "grader" / "criteria"
        self.state = self.root / ".lab"

    @cached_property
    def settings(self) -> Facts:
        """grader/kit.toml: `title`, and `env`, the variables that every process of a workspace gets."""
        return _read_toml(self.root / "grader" / "kit.toml")

    def call(self, setting: str, *given: Any) -> Any:
        """Calls what a setting of kit.toml names as "module:function"; None without that setting."""
        module, _, function = self.settings.get(setting, "").partition(":")
        return getattr(import_module(module), function)(*given) if module else None

    @cached_property
    def needs(self) -> dict[str, Facts]:
        return _read_toml(self.root / "grader" / "needs.toml")

    def shorts(self) -> list[str]:
        """In the order of their numbers: sc10 after sc9."""
        found = [p.stem for p in self.criteria_dir.glob("*.toml") if "." not in p.stem]
        return sorted(found, key=lambda short: [int(n) if n.isdigit() else n for n in re.split(r"(\d+)", short)])

    def criterion(self, name: str) -> Criterion:
        """By short name (sc1) or by id (sc1-models-saved)."""
        short = name.split("-")[0]
        if short not in self.shorts():
            raise UnknownName("criterion", name, self.shorts())
        path = self.criteria_dir / f"{short}.toml"
        text = _read_toml(path)
        parts = list(vars(self.module(short)).values())
        try:
            probes = tuple(p for p in parts if isinstance(p, Probe))
            checks = tuple(c for c in parts if isinstance(c, Check))
            return Criterion(
                short=short, probes=probes, checks=checks, **{**text, "needs": tuple(text.get("needs", ()))}
            )
        except TypeError as wrong:
            raise BadKit(path, str(wrong)) from wrong

    def module(self, short: str) -> ModuleType:
        """sc1.py, run under its dotted name from where it lies; empty when the criterion is not built yet."""
        path = self.criteria_dir / f"{short}.py"
        module = sys.modules[f"grader.criteria.{short}"] = ModuleType(f"grader.criteria.{short}")
        if path.is_file():
            exec(compile(path.read_text(), path, "exec"), vars(module))
        return module

    def criteria(self, names: list[str] | None = None) -> list[Criterion]:
        return [self.criterion(n) for n in names or self.shorts()]

    def neighbour(self, short: str, kind: str) -> Facts:
        """What sc1.KIND.toml says (mutants, right); nothing where there is no such file."""
        path = self.criteria_dir / f"{short}.{kind}.toml"
        return _read_toml(path) if path.is_file() else {}

    def mutants(self, short: str) -> list[Facts]:
        return list(self.neighbour(short, "mutants").get("mutant", []))

    def labs(self) -> list[Lab]:
        """Every solutions/NN_name.py, in order."""
        return [self._read_lab(p) for p in sorted((self.root / "solutions").glob("[0-9][0-9]_*.py"))]

    def lab(self, number: str) -> Lab:
        found = [lab for lab in self.labs() if number in (lab.number, lab.name)]
        if not found:
            raise UnknownName("lab", number, [lab.number for lab in self.labs()])
        return found[0]

    def _read_lab(self, path: Path) -> Lab:
        import yaml

        head = re.match(r"# ---\n(.*?)# ---\n", path.read_text(), re.S)
        front = yaml.safe_load(re.sub(r"^# ?", "", head[1], flags=re.M)) if head else None
        if not front or "lab" not in front.get("jupyter", {}):
            raise BadKit(path, "the front matter has no `jupyter: lab:` entry")
        return Lab(path.name[:2], path.stem, path, front["jupyter"]["lab"])


def _read_toml(path: Path) -> Facts:
    try:
        return tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as wrong:
        raise BadKit(path, str(wrong)) from wrong
