"""A learner's first hour in a real browser: JupyterLab opened, 00 and 01 done, a verdict failed, hinted at, mended.

The tests are one story in one workspace: each begins where the one before it ended. LAB_SCREENSHOTS=1 writes
docs/*.png.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_page import (
    CHROMIUM,
    Notebook,
    browser,
    find_cells,
    jupyterlab,
    last_code_cell,
    learner_environ,
    screenshot,
    todos,
)  # fmt: skip
from conftest import ROOT
from playwright.sync_api import Page, expect

START_HERE, SAVE_MODELS = "00_start_here.ipynb", "01_save_two_models.ipynb"

pytestmark = [pytest.mark.slow, pytest.mark.browser]


@pytest.fixture(scope="module", autouse=True)
def _chromium() -> None:
    if CHROMIUM is None:
        (pytest.fail if os.environ.get("LAB_STRICT") else pytest.skip)(
            "not run: no Chromium (apt-get install chromium)"
        )


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("learner") / "work"


@pytest.fixture(scope="module")
def address(work: Path) -> Iterator[str]:
    with jupyterlab(work) as found:
        yield found


@pytest.fixture
def page() -> Iterator[Page]:
    with browser() as opened:
        yield opened


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    return ROOT / "docs" if os.environ.get("LAB_SCREENSHOTS") else tmp_path


def lab_says(work: Path, *words: str) -> str:
    """`./lab WORDS` in a terminal beside the browser."""
    command = [str(ROOT / "lab"), *words]
    done = subprocess.run(command, capture_output=True, text=True, env=learner_environ(work, 0), timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def saved_answers(work: Path) -> set[str]:
    return set(json.loads((work / "answers.json").read_text()))


def test_start_here(page: Page, address: str, work: Path) -> None:
    book = Notebook.open(page, address, START_HERE)
    for cell_id, text in todos(START_HERE).items():
        book.write(cell_id, text)
    book.run_all()
    book.wait_until_ran(last_code_cell(START_HERE))

    hurried, mended = (book.output(find_cells(START_HERE, c)[0]) for c in ("tickets = held_out", "seen = practice"))
    assert all(word in hurried for word in ("✔ pass", "✘ fail", "- not run", "! error"))
    assert "The criterion: ✔ pass" in mended and "You said 52" in mended
    book.expect_output(last_code_cell(START_HERE), re.compile(r"This notebook took \d+ s"))
    assert book.figures() >= 1 and not book.figures_without_words()
    assert saved_answers(work) >= {"00a", "00b"}
    expect(page.get_by_text("Jupyter news")).to_have_count(0)  # JupyterLab's question, some seconds after it opens
    expect(page.locator(".jp-Dialog, .jp-toast-button")).to_have_count(0)
    book.save()
    assert SAVE_MODELS in lab_says(work, "status"), "the next cell to do lies in notebook 01"


def test_save_two_models(page: Page, address: str, work: Path, shots: Path) -> None:
    """The signatures come last, as for a learner who has not read that far: a fail, a hint, the line, a pass."""
    book, solved = Notebook.open(page, address, SAVE_MODELS), todos(SAVE_MODELS)
    script = find_cells(SAVE_MODELS, "%%work service/save_models.py")[0]
    first_grade, second_grade = find_cells(SAVE_MODELS, "%grade sc1")
    for cell_id in (c for c in solved if c != script):
        book.write(cell_id, solved[cell_id])
    book.run_all()

    failed = book.expect_output(first_grade, "✘ fail")
    expect(failed).to_contain_text("signatures-batchable")
    expect(failed.locator(".jp-OutputArea-output")).to_have_count(1)  # the card alone, not the same in words beside it
    book.expect_output(script, "This cell is not done yet")
    screenshot(page, shots, "grade-fail.png", at=book.cell(first_grade))
    assert "signatures-batchable, hint 1 of 3" in lab_says(work, "hint")
    assert "signatures-batchable, hint 2 of 3" in lab_says(work, "hint")

    book.write(script, solved[script])
    book.run_all()
    book.wait_until_ran(last_code_cell(SAVE_MODELS))
    assert "✔ pass" in book.output(second_grade) and "✘" not in book.output(second_grade)
    assert book.figures() >= 3 and not book.figures_without_words()
    assert saved_answers(work) >= {"01a", "01b", "01c"}
    picture = find_cells(SAVE_MODELS, "# One row a ticket")[0]
    screenshot(page, shots, "jupyterlab-01.png", at=book.cell(picture))
    book.save()


def test_the_report(page: Page, work: Path, shots: Path) -> None:
    """The page that grading left, opened from the disk; it loads nothing from anywhere."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((work / "results" / "report.html").as_uri())
    expect(page.locator("h1")).to_have_text("The serving lab")
    passed = page.locator("section.pass")
    expect(passed).to_have_count(1)
    expect(passed).to_contain_text("sc1-models-saved")
    expect(passed.locator(".v").first).to_have_text("✔ pass")
    assert len(asked) == 1, asked
    screenshot(page, shots, "report-01.png")
