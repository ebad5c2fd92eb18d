"""Makes results/site/ from what is there: the walk's executed notebooks, older ones, and the report. What has not
changed since it was made is left as it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from grader import report as reports
from grader.kit import Kit, Lab
from grader.model import Facts, NotebookRun, Report, Verdict
from grader.notebooks import make_notebook
from grader.progress import Progress
from grader.workspace import Workspace, write_atomic
from pages import book as books

HERE = Path(__file__).parent
KEPT = HERE / "kept"  # executed notebooks of labs that not every machine can run
NAMES = {Verdict.PASS: "ran to its end", Verdict.ERROR: "stopped with an error", Verdict.NOT_RUN: "not run"}


@dataclass(frozen=True)
class Page:
    """A lab's page: which executed notebook it shows (None: there is none), and what this walk did with the lab."""

    lab: Lab
    path: Path | None
    run: NotebookRun

    @property
    def href(self) -> str:
        return f"{self.lab.name}.html"

    @cached_property
    def book(self) -> Any:
        return books.read(self.path) if self.path else None

    @property
    def of_this_walk(self) -> bool:
        return self.run.verdict is not Verdict.NOT_RUN

    def made(self) -> str:
        """When, in what time and by which commit."""
        facts = self.book.metadata.get("papermill", {})
        at, took = str(facts.get("end_time", "")), facts.get("duration")
        commit = self.book.metadata.get("lab", {}).get("commit")
        parts = [f"on {minute(at)}" if at else "at an unknown time"]
        parts += [f"in {took:.0f} s"] if took else []
        return " ".join(parts) + (f", by commit {commit}" if commit else ", by a commit that was not noted")

    def notes(self) -> list[str]:
        """What the page says of itself, first of all."""
        told = [f"Executed {self.made()}."]
        if self.run.verdict is Verdict.ERROR:
            told.append(f"It stopped with an error: {self.run.message}")
        if not self.of_this_walk:
            told.append(f"The last walk did not run this lab ({self.run.message}). What you see is an earlier run.")
        if changed := self.changed():
            cells = "one of its cells reads" if changed == 1 else f"{changed} of its cells read"
            told.append(f"The lab has changed since: {cells} differently now.")
        return told

    def changed(self) -> int:
        """How many cells of the lab are not in the executed notebook word for word."""
        now = json.loads(make_notebook(self.lab, solved=True))["cells"]
        there = {cell.source for cell in self.book.cells}
        return sum("".join(cell["source"]) not in there for cell in now)


def minute(at: str) -> str:
    """ "2026-11-25 at 17:14 UTC", of an ISO time in UTC."""
    return f"{at[:10]} at {at[11:16]} UTC"


def make_site(ws: Workspace, report: Report) -> Path:
    """An index, a page for each executed notebook and the report, in results/site/. Returns the index."""
    folder = ws.results / "site"
    with Progress("pages") as progress:
        found = [find_page(ws, lab, report) for lab in ws.kit.labs()]
        shown = [page for page in found if page.path]
        for page in shown:
            progress.note(page.lab.name)
            write_page(folder, page, shown, ws.kit)
        progress.note("index and report")
        write_atomic(folder / "report.html", report_page(report, shown, ws.kit).encode())
        write_atomic(folder / "index.html", index_page(report, found, ws.kit).encode())
    return folder / "index.html"


def find_page(ws: Workspace, lab: Lab, report: Report) -> Page:
    """The walk's executed notebook; for a lab that was not run an older one: of an earlier walk, or kept in the kit."""
    run = next((r for r in report.notebooks if r.id == lab.name), None)
    run = run or NotebookRun(lab.name, Verdict.NOT_RUN, 0.0, "not a part of this walk")
    places = [ws.results / lab.notebook, KEPT / lab.notebook]
    return Page(lab, next((p for p in places if p.is_file()), None), run)


def write_page(folder: Path, page: Page, shown: list[Page], kit: Kit) -> None:
    """Unless it is there already, made of the same."""
    notes, links = page.notes(), list(navigation(shown))
    parts = [(page.path or Path()).read_bytes(), repr([notes, links]).encode(), own_source()]
    digest = hashlib.sha256(b"\0".join(parts)).hexdigest()[:24]
    target = folder / page.href
    if target.is_file() and f'content="{digest}"' in target.read_text()[:400]:
        return
    at = shown.index(page)
    beside = {"before": link(shown[at - 1]) if at else None, "after": link(shown[at + 1]) if shown[at + 1 :] else None}
    content = books.to_html(page.book)
    title, here = books.title(page.book), page.href
    frame = {"digest": digest, "notes": notes, "parts": books.parts(content), "links": links, "here": here, **beside}
    write_atomic(target, in_frame(kit, title, content, made=f"Executed {page.made()}.", **frame).encode())


def own_source() -> bytes:
    return b"".join(p.read_bytes() for p in sorted(HERE.rglob("*")) if p.suffix in (".py", ".html", ".css", ".j2"))


def link(page: Page) -> Facts:
    return {"href": page.href, "name": books.title(page.book), "short": page.lab.number}


def navigation(shown: list[Page]) -> Iterator[Facts]:
    yield from map(link, shown)
    yield {"href": "report.html", "name": "Report", "short": "Report"}


def index_page(report: Report, found: list[Page], kit: Kit) -> str:
    shown = [page for page in found if page.path]
    content = fill("index.html", kit=kit.settings["title"], books=[card(p, report) for p in found], **summary(report))
    made = f"Made by ./lab walk on {minute(report.made)}."
    return in_frame(kit, "As it ran", content, made=made, links=list(navigation(shown)), here="index.html")


def summary(report: Report) -> Facts:
    counts = reports.count_verdicts(report) or "Nothing was graded"
    return {"counts": counts, "advice": reports.ADVICE[report.verdict()]}


def card(page: Page, report: Report) -> Facts:
    """What the index says of a lab."""
    run = page.run
    says = f"in {run.seconds:.0f} s" if run.verdict is Verdict.PASS and run.seconds else f"({run.message})"
    facts: Facts = {"state": run.verdict.value, "sign": NAMES[run.verdict], "says": says}
    facts |= {"href": "", "picture": None, "older": ""}
    facts |= {"number": page.lab.number, "name": page.lab.name[3:].replace("_", " ").capitalize()}
    graded = [c for c in report.criteria if c.id.split("-")[0] in page.lab.front.get("grades", [])]
    facts["criteria"] = [f"{c.id}: {reports.SIGNS[c.verdict]} {reports.count_passes(c.checks)}" for c in graded]
    if page.path:
        number, _, name = books.title(page.book).partition(" · ")
        facts |= {"href": page.href, "number": number, "name": name, "picture": books.small_picture(page.book)}
        if not page.of_this_walk:
            facts["older"] = f"What can be read here was executed {page.made()}."
    return facts


def report_page(report: Report, shown: list[Page], kit: Kit) -> str:
    from markupsafe import Markup

    machine = report.machine
    packages = "".join(f", {name} {version}" for name, version in machine["packages"].items())
    of = f"{machine['system']}, {machine['cpus']} CPUs, {machine['memory_gib']} GiB, Python {machine['python']}"
    fragment = Markup(reports.to_html(report, kit, fragment=True))
    facts = {"machine": f"Made on {minute(report.made)}; {of}{packages}.", **summary(report)}
    content = fill("report.html", fragment=fragment, **facts)
    made = f"Made by ./lab walk on {minute(report.made)}."
    return in_frame(kit, "Report", content, made=made, links=list(navigation(shown)), here="report.html")


def in_frame(kit: Kit, title: str, content: str, **facts: Any) -> str:
    from markupsafe import Markup

    style = Markup((HERE / "style.css").read_text() + books.code_style())
    given = {"notes": [], "parts": [], "before": None, "after": None, "digest": "", **facts}
    return fill("page.html", kit=kit.settings["title"], title=title, content=Markup(content), style=style, **given)


def fill(template: str, **facts: Any) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    env = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return env.get_template(template).render(**facts)
