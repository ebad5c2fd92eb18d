"""Three tickets, asked together and apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from grader.world.releases import TEXTS, ask_apart

PROBLEMS: dict[str, tuple[Callable[[list[str]], list[str]], str]] = {
    "right": (lambda texts: [TEXTS[t] for t in texts], ""),
    "a table by place": (lambda texts: [*TEXTS.values()][: len(texts)], "in another order they get"),
    "wrong alone": (lambda texts: [TEXTS[t] for t in texts] if texts[1:] else ["account"], "alone they get"),
    "wrong at once": (lambda texts: ["billing"] * len(texts), ""),  # its labels say so
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_texts_get_apart_what_they_get_together(name: str) -> None:
    answer, problem = PROBLEMS[name]
    told: dict[str, Any] = ask_apart(lambda texts: {"status": 200, "problem": "", "body": {"labels": answer(texts)}})
    assert (problem in told["problem"]) if problem else told["problem"] == ""


def test_one_that_gives_no_answer_is_not_asked_again() -> None:
    asked: list[list[str]] = []

    def ask(texts: list[str]) -> dict[str, Any]:
        asked.append(texts)
        return {"problem": "ReadTimeout", "late": True}

    assert ask_apart(ask) == {"problem": "ReadTimeout", "late": True}
    assert len(asked) == 1
