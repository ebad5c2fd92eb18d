"""Facts of a probe with one of them changed, for tests of checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def put(*path: Any, to: Any) -> Callable[[Any], None]:
    """A change that sets what lies at that path of keys and places."""

    def change(facts: Any) -> None:
        for step in path[:-1]:
            facts = facts[step]
        facts[path[-1]] = to

    return change
