"""What people read keeps to plain English, in lessons, hints, questions, stories, messages and pages: no
word or turn of phrase that the house has dropped. (Spelling is codespell's, in test_style.py.)"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import ROOT

from grader.kit import Kit

# pattern -> what is said instead
HABITS = {
    r"\b(lies|lie)\b": "is, are",
    r"\bstands? in\b": "is in",
    r"(?<!--)\banew\b": "again",
    r"\bmend(s|ed|ing)?\b": "fix, repair",
    r"\bin the place of\b": "instead of",
    r"\bwhoever\b": "anyone who",
    r"\bsomebody\b": "someone",
    r"(?<!would )(?<!not )(?<!cannot )\b(has|have) to\b": "must, or a plain verb",
    r"(?<!no )\bsuch\b(?! as\b| a\b| an\b)": "this, that, these",
    r"\b(is|are|all) well\b": "healthy",
    r"\bput down\b": "write",
    r"\bbelongs? into\b": "belongs in",
    r"\blooks? whether\b": "checks that",
    r"\bclass rooms?\b": "classroom",
    r"\btyping errors?\b": "typo",
    r"\b(the common text|most texts|some texts|course texts?|often said)\b": "the course module",
    r"\b(simply|let's|in this section|obviously|of course)\b": "nothing: it is filler",
    r"\b(knock|looks? away|in company|behind a wall)\b": "the thing itself",
    r"[a-z]!(?=\s|$)": "a full stop",
}
# Phrases in which one of these is right.
FINE = re.compile(r"course text that")  # lab 00 says once what the course module is
MOST_NOBODY = 4  # in one notebook; as the subject of every other sentence it puzzles

READ = {"title", "outcome", "explanation", "question", "story", "shows", "is", "cause", "causes", "hints", "add"}
CODE = sorted(p for f in ("grader", "cluster", "labs/helpers") for p in (ROOT / f).rglob("*.py"))
PAGES = [ROOT / n for n in ("README.md", "CONTRIBUTING.md", "manifests/README.md", "service/README.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))


def words_of_toml(value: Any, read: bool = False) -> Iterator[str]:
    """The texts under the keys that people read."""
    if isinstance(value, str) and read:
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from words_of_toml(part, read)
    elif isinstance(value, dict):
        for key, part in value.items():
            of_mutant = key == "add" and not isinstance(part, str)  # files, in a mutant; a command, in a need
            yield from words_of_toml(part, (read or key in READ) and not of_mutant)


def words_of_code(source: str) -> Iterator[str]:
    """Its strings of several words, without docstrings and comments: messages, titles, labels."""
    tree = ast.parse(source)
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    opens = [n.body[0] for n in ast.walk(tree) if isinstance(n, kinds) and n.body]
    documents = {id(first.value) for first in opens if isinstance(first, ast.Expr)}
    for node in ast.walk(tree):
        text = getattr(node, "value", None) if isinstance(node, ast.Constant) and id(node) not in documents else None
        if isinstance(text, str) and " " in text.strip():
            yield text


def words_of_page(text: str) -> str:
    """Without what is set as code."""
    return re.sub(r"^```.*?^```|^    .*?$|`[^`\n]+`", "", text, flags=re.M | re.S)


def texts() -> Iterator[tuple[str, str]]:
    for source in sorted(ROOT.glob("solutions/[0-9]*.py")):
        yield source.name, source.read_text()
    for path in [*ROOT.glob("solutions/*.toml"), *sorted(ROOT.glob("grader/**/*.toml"))]:
        yield path.name, "\n".join(words_of_toml(tomllib.loads(path.read_text())))
    for path in CODE:
        yield path.relative_to(ROOT).as_posix(), "\n".join(words_of_code(path.read_text()))
    for path in PAGES:
        yield path.relative_to(ROOT).as_posix(), words_of_page(path.read_text())


ALL = dict(texts())


def find_habits(text: str) -> list[str]:
    found = []
    for pattern, instead in HABITS.items():
        for hit in re.finditer(pattern, FINE.sub("", text), re.I):
            around = FINE.sub("", text)[max(0, hit.start() - 40) : hit.end() + 40].replace("\n", " ")
            found.append(f"{hit[0]!r} ({instead}): ...{around}...")
    return found


@pytest.mark.parametrize("where", ALL)
def test_no_dropped_word(where: str) -> None:
    assert not (found := find_habits(ALL[where])), "\n".join(found)


@pytest.mark.parametrize("lab", Kit(ROOT).labs(), ids=lambda lab: lab.name)
def test_nobody_is_seldom_the_subject(lab: Any) -> None:
    assert len(re.findall(r"\bnobody\b", lab.source.read_text(), re.I)) <= MOST_NOBODY


def test_the_rules_find_what_they_forbid() -> None:
    bad = "It lies there. It stands in a file. Make it anew. Mend it. Whoever asks has to wait! It is often said so."
    assert len(find_habits(bad)) == 8
    assert not find_habits("`--anew` is an option, as such a thing is; you would have to do so.")


def test_every_kind_of_text_is_read() -> None:
    assert len(ALL) > 100 and sum(map(len, ALL.values())) > 300_000
    assert "Two models sort them" in ALL["00_start_here.py"] and "registry" in ALL["cluster/up.py"]
    assert "Nobody looked" in ALL["questions.toml"] and "story" not in ALL["sc1.mutants.toml"]
