"""The questions that a lab ends with: nothing is measured, so each answer is held against the right option."""

from __future__ import annotations

from grader.kit import Kit
from labs.helpers.teaching.answers import find_question, measured


def recall(*names: str) -> None:
    """Answers back to each question in turn: the right option, what a wrong one shows, and the explanation."""
    for name in names:
        options = find_question(Kit(), name).option or {}
        measured(name, next(letter for letter, option in options.items() if not option.get("shows")))
