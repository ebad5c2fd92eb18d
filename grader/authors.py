"""Whose line decides a check: "yours" where a mutant fails it that changes only what a TODO asks for, else "given".

Computed from the solutions' sources and the mutants' entries, never typed. Such a mutant edits a file inside the
solution of a TODO (`edit`), or types something else at a TODO whose effect is checked (`typed`). It may take away what
commands made (`remove`) and run what makes it again (kit.toml, `makes`), in a fixture that adds nothing of its own
(`plain` at the top of scN.mutants.toml).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from grader.kit import Kit
from grader.model import CriterionResult, Facts
from grader.notebooks import SOURCE_REGION, bare

# a cell that writes a file, in a source: as code, or as a language of its own
WORK = re.compile(r'(?:^# %%work |language="work" magic_args=")(?P<file>[^\s"]+)', re.M)


@dataclass
class Regions:
    """`files`: the solutions of the TODOs of each file that a `%%work` cell writes; `typed`: the TODOs of other cells;
    `written`: the files that cells write or labs give."""

    files: dict[str, list[str]] = field(default_factory=dict)
    typed: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)


def mark_authors(kit: Kit, results: Iterable[CriterionResult]) -> list[CriterionResult]:
    """The results, each check with its author."""
    regions, marked = read_regions(kit), []
    for result in results:
        own = own_checks(kit, result.id.split("-")[0], regions)
        checks = tuple(replace(c, author="yours" if c.id in own else "given") for c in result.checks)
        marked.append(replace(result, checks=checks))
    return marked


def read_regions(kit: Kit) -> Regions:
    found = Regions()
    for lab in kit.labs():
        found.written.update(lab.front.get("gives", []))
        for cell in re.split(r"^(?=# %%(?: |$))", lab.source.read_text(), flags=re.M):
            marks, work = list(SOURCE_REGION.finditer(cell)), WORK.search(cell)
            if work:
                ours = ["\n".join(bare(m["ours"].splitlines(), m["lead"])) for m in marks]
                found.written.add(work["file"])
                found.files.setdefault(work["file"], []).extend(ours)
            else:
                found.typed.update(m["what"].strip() for m in marks)
    return found


def own_checks(kit: Kit, short: str, regions: Regions) -> set[str]:
    """The checks that some mutant fails which, itself or in its form for an incident, changes TODOs alone."""
    entries, makes = kit.neighbour(short, "mutants"), kit.settings.get("makes", [])
    plain = [entries.get("control"), *entries.get("plain", [])]
    forms = [(m["fails"], form) for m in entries.get("mutant", []) for form in (m, m.get("in_place", {}))]
    return {fails for fails, form in forms if changes_todos(form, regions, makes, plain)}


def changes_todos(form: Facts, regions: Regions, makes: list[str], plain: list[str]) -> bool:
    edits, typed = form.get("edit", []), form.get("typed", [])
    inside = [any(e["find"].strip() in text for text in regions.files.get(e["file"], [])) for e in edits]
    inside += [t["todo"] in regions.typed for t in typed]
    besides = [k for k in ("add", "link") if k in form] + [c for c in form.get("run", []) if c not in makes]
    besides += [name for name in form.get("remove", []) if any(f"{w}/".startswith(f"{name}/") for w in regions.written)]
    return bool(inside) and all(inside) and not besides and form.get("around") in (None, *plain)
