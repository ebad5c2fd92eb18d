"""Passes once service/number.txt holds 42."""

from grader.kit import check, probe
from grader.model import Facts, Finding
from grader.workspace import Workspace


@probe(limit=10)
def number(ws: Workspace) -> Facts:
    path = ws.service / "number.txt"
    return {"text": path.read_text().strip() if path.exists() else None}


@probe(limit=10)
def word(ws: Workspace) -> Facts:
    path = ws.service / "word.txt"
    return {"word": path.read_text().strip() if path.exists() else None}


@check(number)
def file_is_there(seen: Facts) -> Finding:
    return Finding(seen["text"] is not None, "service/number.txt exists", seen["text"], "a file")


@check(number, after=file_is_there)
def number_is_right(seen: Facts) -> Finding:
    return Finding(seen["text"] == "42", "the number is 42", seen["text"], "42")


@check(word)
def word_is_short(seen: Facts) -> Finding:
    return Finding(len(seen["word"] or "") < 5, "the word is short", seen["word"], "under five letters")
