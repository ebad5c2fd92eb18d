"""Fails always, and the check behind is not run."""

from grader.kit import check, probe
from grader.model import Facts, Finding
from grader.workspace import Workspace


@probe(limit=10)
def nothing(ws: Workspace) -> Facts:
    return {}


@check(nothing)
def is_true(seen: Facts) -> Finding:
    return Finding(False, "it should be true", False, True)


@check(nothing, after=is_true)
def is_very_true(seen: Facts) -> Finding:
    return Finding(True, "it is very true")
