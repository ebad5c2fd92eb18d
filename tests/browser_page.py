"""A learner at a browser: JupyterLab as `./lab start` starts it, and the few things that a person does there.

Everything waits for what a person would wait for (a number in `[ ]`, a text), never for a time.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from conftest import ROOT
from PIL import Image
from playwright.sync_api import Locator, Page, expect, sync_playwright

from grader.processes import free_port, started, wait_until

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
]
SIZE = {"width": 1180, "height": 860}
START = 90_000  # ms; the first import on a slow disk
RUN = 180_000  # ms for a whole notebook
MOST_BYTES = 150_000
# JupyterLab lays out a cell when it comes into sight, which moves the ones below: scroll until ten frames agree.
SETTLED = """cell => {
    cell.scrollIntoView({block: 'start'})
    const top = cell.getBoundingClientRect().top
    window.agreed = window.lastTop === top ? (window.agreed || 0) + 1 : 0
    window.lastTop = top
    return window.agreed > 10
}"""
# A queued cell shows [*] a moment after the click, so the brackets have to stay without a star for thirty frames.
QUIET = """() => {
    const waits = [...document.querySelectorAll('.jp-InputPrompt')].some(prompt => prompt.textContent.includes('*'))
    window.quiet = waits ? 0 : (window.quiet || 0) + 1
    return window.quiet > 30
}"""


def learner_environ(work: Path, port: int) -> dict[str, str]:
    """What `./lab start` gets: nothing of the user's own Jupyter, and no second browser."""
    private = work.parent / "jupyter"
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("LAB_", "JUPYTER"))}
    folders = {f"JUPYTER_{k}_DIR": str(private / k.lower()) for k in ("CONFIG", "DATA", "RUNTIME")}
    return {**clean, **folders, "BROWSER": "true", "LAB_WORK": str(work), "LAB_PORT": str(port)}


@contextlib.contextmanager
def jupyterlab(work: Path) -> Iterator[str]:
    """The address with its token, read from what `./lab start` prints. Ends the server and its kernels."""
    port, log = free_port(), work.parent / "start.log"
    with started([str(ROOT / "lab"), "start"], cwd=ROOT, env=learner_environ(work, port), log=log) as (process, _):
        told = re.compile(rf"http://127\.0\.0\.1:{port}/lab\?token=\w+")
        there = wait_until(lambda: bool(told.search(log.read_text())) or process.poll() is not None, START / 1000)
        found = told.search(log.read_text())
        assert there and found, log.read_text()[-2000:]
        yield found[0]


@contextlib.contextmanager
def browser() -> Iterator[Page]:
    """Chromium with an empty profile."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield chromium.new_page(viewport=SIZE)  # type: ignore[arg-type]
        finally:
            chromium.close()


@dataclass
class Notebook:
    """An open notebook. Cells are named as in the kit: `01-07` is the cell with that id, the eighth from the top."""

    page: Page
    name: str

    @classmethod
    def open(cls, page: Page, address: str, name: str) -> Notebook:
        base, query = address.split("?")
        page.goto(f"{base}/tree/{urllib.parse.quote(name)}?{query}&reset", timeout=START)
        book = cls(page, name)
        expect(book.cells.first).to_be_visible(timeout=START)
        # not the notebook's own indicator, which is idle also while there is no kernel yet
        expect(page.locator("#jp-main-statusbar")).to_contain_text("(ipykernel) | Idle", timeout=START)
        return book

    @property
    def cells(self) -> Locator:
        return self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook .jp-Cell")

    def cell(self, cell_id: str) -> Locator:
        return self.cells.nth(int(cell_id.split("-")[1]))

    def write(self, cell_id: str, text: str) -> None:
        """Selects all in the cell and types over it; what stands there then is what was typed."""
        editor = self.cell(cell_id).locator(".cm-content")
        editor.scroll_into_view_if_needed()
        editor.click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(text)
        expect(editor).to_contain_text(text.splitlines()[-1].strip())

    def menu(self, menu: str, item: str) -> None:
        self.page.locator(".lm-MenuBar-item").get_by_text(menu, exact=True).click()
        self.page.locator(".lm-Menu-itemLabel").get_by_text(item, exact=True).click()

    def run_all(self) -> None:
        self.menu("Run", "Run All Cells")
        self.page.evaluate("window.quiet = 0")

    def wait_until_ran(self, cell_id: str) -> None:
        """Nothing waits or runs any more, and the cell has a number between its brackets: it and all above ended."""
        self.page.wait_for_function(QUIET, timeout=RUN)
        errors = self.cells.locator('[data-mime-type="application/vnd.jupyter.error"]').all_text_contents()
        prompt = self.cell(cell_id).locator(".jp-InputPrompt")
        expect(prompt, f"stopped by: {errors}").to_have_text(re.compile(r"^\[\d+\]:$"))

    def output(self, cell_id: str) -> str:
        """Its text. (`inner_text` would be empty for a cell out of sight, which JupyterLab does not lay out.)"""
        return self.cell(cell_id).locator(".jp-Cell-outputWrapper").text_content() or ""

    def expect_output(self, cell_id: str, text: str | re.Pattern[str]) -> Locator:
        output = self.cell(cell_id).locator(".jp-Cell-outputWrapper")
        expect(output).to_contain_text(text, timeout=RUN)
        return output

    def save(self) -> None:
        self.menu("File", "Save Notebook")
        expect(self.page.locator(".jp-mod-dirty")).to_have_count(0)

    def figures_without_words(self) -> list[str]:
        """The cells with a figure whose finding does not stand beside it: read from the page, as a reader would."""
        silent = []
        for i in range(self.cells.count()):
            output = self.cells.nth(i).locator(".jp-Cell-outputWrapper")
            for image in output.locator("img").all():
                finding = (image.get_attribute("alt") or "").strip()
                shown = " ".join((output.text_content() or "").split())
                if len(finding.split()) < 5 or " ".join(finding.split()) not in shown:
                    silent.append(f"{self.name}, cell {i}")
        return silent

    def figures(self) -> int:
        return self.cells.locator(".jp-Cell-outputWrapper img").count()


def todos(name: str) -> dict[str, str]:
    """Of each cell with a TODO, the solution's text, by the cell's id."""
    ours, theirs = (json.loads((ROOT / folder / name).read_text())["cells"] for folder in ("solutions", "labs"))
    solved = {c["id"]: "".join(c["source"]) for c in ours}
    return {c["id"]: solved[c["id"]] for c in theirs if c["cell_type"] == "code" and "# TODO " in "".join(c["source"])}


def find_cells(name: str, start: str) -> list[str]:
    """Ids of the cells whose text begins so."""
    cells = json.loads((ROOT / "labs" / name).read_text())["cells"]
    return [c["id"] for c in cells if "".join(c["source"]).startswith(start)]


def last_code_cell(name: str) -> str:
    cells = json.loads((ROOT / "labs" / name).read_text())["cells"]
    return str([c["id"] for c in cells if c["cell_type"] == "code"][-1])


def screenshot(page: Page, folder: Path, name: str, at: Locator | None = None) -> Path:
    """What is in the window, with `at` at its top; in 128 colours, so that a clone stays small."""
    if at:
        page.wait_for_function(SETTLED, arg=at.element_handle(), timeout=START)
    page.mouse.move(5, 5)
    path = folder / name
    Image.open(io.BytesIO(page.screenshot())).convert("RGB").quantize(128).save(path, optimize=True)
    assert path.stat().st_size <= MOST_BYTES, f"{path} has {path.stat().st_size} bytes"
    return path
