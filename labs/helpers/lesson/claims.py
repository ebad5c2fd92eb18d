"""Sentences that a cell says of its own numbers: printed where they hold, and refused in the walk where they do not."""

from __future__ import annotations

import os


def holds(fact: bool, sentence: str) -> None:
    """Prints the sentence if the fact holds. If it does not: an AssertionError in the kit's own run, so that no
    text goes out that its data do not bear; on a learner's machine a line that says so."""
    if fact:
        print(sentence)
    elif os.environ.get("LAB_WORKSPACE"):
        raise AssertionError(f"the lab says: {sentence}")
    else:
        print(f"Not so here: {sentence} Is your code above as the text says?")
