"""Whose line decides a check: "yours" where a mutant fails it that changes only what a TODO asks for, else "given".

Computed from the solutions' sources and the mutants' edits, never typed.
"""

from collections.abc import Iterable
from dataclasses import replace

from grader.kit import Kit
from grader.model import CriterionResult, Facts
from grader.notebooks import REGION

Regions = dict[str, list[str]]


def mark_authors(kit: Kit, results: Iterable[CriterionResult]) -> list[CriterionResult]:
    """The results, each check with its author."""
    regions, marked = read_regions(kit), []
    for result in results:
        own = {m["fails"] for m in kit.mutants(result.id.split("-")[0]) if is_own(m, regions)}
        checks = tuple(replace(c, author="yours" if c.id in own else "given") for c in result.checks)
        marked.append(replace(result, checks=checks))
    return marked


def read_regions(kit: Kit) -> Regions:
    """What the solutions have in the place of each TODO, by the file that its `%%work` cell writes."""
    import jupytext

    regions: Regions = {}
    for lab in kit.labs():
        for cell in jupytext.read(lab.source).cells:
            first, _, text = cell.source.partition("\n")
            if first.startswith("%%work "):
                regions.setdefault(first.split()[1], []).extend(m["ours"] for m in REGION.finditer(text))
    return regions


def is_own(mutant: Facts, regions: Regions) -> bool:
    """Whether it, or its form for an incident, edits files in TODO regions alone."""
    return any(edits_only(changes, regions) for changes in (mutant, mutant.get("in_place", {})))


def edits_only(changes: Facts, regions: Regions) -> bool:
    edits = changes.get("edit", [])
    inside = [any(e["find"].strip() in text for text in regions.get(e["file"], [])) for e in edits]
    return bool(edits) and all(inside) and not any(k in changes for k in ("add", "remove", "link"))
