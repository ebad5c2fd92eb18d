"""docs/numbers.toml: what each figure is. The words of an entry, whitespace aside, are in its page and cover the
figures that begin in them.

    [[measured]]  file, says, run: `says` has {path/in/the/run:.0f}, filled in from the run file (formed())
    [[table]]     file, run: the run file has a whole table's lines, as its command printed them, and the page has these
    [[lost]]      file, says, table or like, date, again: measured on that day, and its run file was not kept
    [[quoted]]    file, says or table, who: someone else's figure; who, and when
    [[setting]]   file, says, table or like, why: a limit, an estimate, a definition, arithmetic: nothing is measured
    [[page]]      file, runs, by, again: made of run files (or patterns) by "module:function", which returns the
                  page, or {file: text} with the page among them. `given` says what it gets: "paths", a list (without
                  the key), "path", the one, or "runs", what is in them, the oldest first

`file` may be a pattern; `like` is a regular expression; `table` the beginning of a table's head, all of it or `columns`
= [2, 3] alone.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from grader.errors import BadKit

FILE = "docs/numbers.toml"
KEYS = {
    "measured": ({"file", "says", "run"}, set()),
    "table": ({"file", "run"}, set()),
    "lost": ({"file", "date", "again"}, {"says", "table", "like"}),
    "quoted": ({"file", "who"}, {"says", "table"}),
    "setting": ({"file", "why"}, {"says", "table", "like"}),
    "page": ({"file", "runs", "by", "again"}, set()),
}
HOLE = re.compile(r"\{([^{}:]+)(?::([^{}]+))?\}")


@dataclass(frozen=True)
class Entry:
    kind: str
    file: str
    values: dict[str, Any]

    @property
    def says(self) -> str:
        return re.sub(r"\s+", " ", str(self.values.get("says", ""))).strip()

    def __getitem__(self, key: str) -> Any:
        return self.values.get(key, "")

    def told(self) -> str:
        return str(self.says or self["table"] or self["like"] or self.file)


@dataclass(frozen=True)
class Registry:
    """`lost_at_most`: how many figures may have lost their run file; it only ever goes down."""

    entries: list[Entry]
    lost_at_most: int

    def of(self, *kinds: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.kind in kinds]


def read_registry(root: Path) -> Registry:
    """Raises BadKit for an entry that is not well formed."""
    path = root / FILE
    kept = tomllib.loads(path.read_text())
    entries = [read_entry(path, kind, values) for kind in KEYS for values in kept.get(kind, [])]
    if unknown := set(kept) - {*KEYS, "lost_at_most"}:
        raise BadKit(path, f"no kind of entry: {min(unknown)}")
    return Registry(entries, int(kept["lost_at_most"]))


def read_entry(path: Path, kind: str, values: dict[str, Any]) -> Entry:
    needed, one_of = KEYS[kind]
    more = {"columns"} if "table" in values else {"given"} if kind == "page" else set()
    wrong = needed - set(values) or set(values) - needed - one_of - more
    if wrong or (one_of and len(one_of & set(values)) != 1):
        said = ", ".join(sorted(needed)) + (f" and one of {', '.join(sorted(one_of))}" if one_of else "")
        raise BadKit(path, f"an entry of {kind} has {said}, not {', '.join(sorted(values))}")
    if kind == "measured" and not HOLE.search(values["says"]):
        raise BadKit(
            path, f"a measured figure is filled in from its run file, and {values['says']!r} has no place for it"
        )
    return Entry(kind, values["file"], values)


def filled(entry: Entry, root: Path) -> str:
    """What the page must say: `says` with the run's values. Raises ValueError where the run file has no such value."""
    run = read_run(root / entry["run"])
    return HOLE.sub(lambda hole: formed(find_value(run, hole[1]), hole[2] or ""), entry.says)


@cache
def read_run(path: Path) -> Any:
    """Raises ValueError unless it is there and says when it was made."""
    if not path.is_file():
        raise ValueError(f"there is no run file {path.name}")
    run = json.loads(path.read_text())
    if not date_of(run):
        raise ValueError(f"{path.name} does not say when it was made")
    return run


def date_of(run: Any) -> str:
    made = str(run.get("made", "")) if isinstance(run, dict) else ""
    return made[:10] if re.match(r"\d{4}-\d\d-\d\d", made) else ""


def lines_of(entry: Entry, root: Path) -> list[str]:
    """The table of its run file: head, rule, rows. Raises ValueError where it has none."""
    lines = [line.strip() for line in find_value(read_run(root / entry["run"]), "table")]
    if len(lines) < 3:
        raise ValueError(f"{entry['run']} has no table")
    return lines


def find_value(run: Any, path: str) -> Any:
    """The value at a/b/0 in the run."""
    value = run
    for key in path.split("/"):
        try:
            value = value[int(key)] if isinstance(value, list) else value[key]
        except (KeyError, IndexError, TypeError, ValueError) as wrong:
            raise ValueError(f"the run has no {path}") from wrong
    return value


def formed(value: Any, form: str) -> str:
    """By a format of Python's; seconds also as "minutes" (0.8), "m:ss" or "m min s"."""
    if form == "minutes":
        return f"{float(value) / 60:.1f}"
    if form in ("m:ss", "m min s"):
        minutes, seconds = divmod(round(float(value)), 60)
        return f"{minutes}:{seconds:02}" if form == "m:ss" else f"{minutes} min {seconds} s"
    return format(value, form)


def files_of(entry: Entry, root: Path) -> list[str]:
    """The run files of a page, patterns resolved, by name; a name without a pattern is one that must be there."""
    found = []
    for run in entry["runs"]:
        found += sorted(p.relative_to(root).as_posix() for p in root.glob(run)) if "*" in run else [run]
    return found


def runs_of(registry: Registry, root: Path) -> Iterator[str]:
    """Each run file that an entry names, once."""
    names = [e["run"] for e in registry.of("measured", "table")] + [
        run for e in registry.of("page") for run in files_of(e, root)
    ]
    yield from dict.fromkeys(names)
