"""Makes a report of what was graded, and shows it: in a terminal, as a page, as JUnit for CI.

Each verdict is named in words, never by colour alone.
"""

import json
import platform
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from grader.authors import mark_authors
from grader.kit import Kit
from grader.model import CheckResult, CriterionResult, Facts, NotebookRun, Report, Verdict, clean
from grader.workspace import Workspace, read_json, write_atomic

SIGNS = {Verdict.PASS: "✔ pass", Verdict.FAIL: "✘ fail", Verdict.ERROR: "! error", Verdict.NOT_RUN: "- not run"}
STYLES = {Verdict.PASS: "green", Verdict.FAIL: "bold red", Verdict.ERROR: "bold magenta", Verdict.NOT_RUN: "dim"}
SCHEMA_FILE = Path(__file__).with_name("report.schema.json")
ADVICE = {
    Verdict.PASS: "Everything that could be checked was checked, and passed.",
    Verdict.FAIL: "Something in the work is not right yet: see the first failing check; `./lab hint` helps.",
    Verdict.ERROR: "The grader or the machine had trouble, which says nothing about the work: see the error.",
    Verdict.NOT_RUN: "Nothing failed. What was not run proves nothing: each line says why.",
}


def make_report(ws: Workspace, results: Iterable[CriterionResult], notebooks: Iterable[NotebookRun] = ()) -> Report:
    made = datetime.now(UTC).isoformat(timespec="seconds")
    marked = tuple(mark_authors(ws.kit, results))
    return Report(made, describe_machine(ws.kit), tuple(read_answers(ws)), marked, tuple(notebooks))


def read_last(ws: Workspace) -> Report | None:
    """The last report that was made of that workspace."""
    path = ws.results / "report.json"
    return Report.from_json(read_json(path)) if path.exists() else None


def list_answers(ws: Workspace) -> list[Facts]:
    """A learner's predictions beside what was measured, by kit.toml's `answers`; none in a kit that asks nothing."""
    return ws.kit.call("answers", ws) or []


def read_answers(ws: Workspace) -> list[Facts]:
    """What is well formed of them: a damaged file costs the answers, not the report."""
    try:
        answers = list_answers(ws)
    except Exception as damaged:
        print(f"lab: the report has no answers: {clean(str(damaged))}", file=sys.stderr)
        return []
    return [clean(a) for a in answers if all(isinstance(a.get(key), str) for key in ("id", "text"))]


def describe_machine(kit: Kit) -> Facts:
    """What a reader of the report needs to weigh its numbers; no names of hosts or people."""
    versions = {}
    for package in kit.settings.get("packages", []):
        with suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "python": sys.version.split()[0],
        "cpus": psutil.cpu_count() or 0,
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "packages": versions,
    }


def save(report: Report, ws: Workspace, files: Mapping[str, str]) -> Path:
    """results/report.json and .html, and the files asked for (json_file, ...), each whole or not at all."""
    import jsonschema

    data = json.dumps(report.to_json(), indent=1) + "\n"
    jsonschema.validate(json.loads(data), json.loads(SCHEMA_FILE.read_text()))
    page = to_html(report, ws.kit)
    write_atomic(ws.results / "report.json", data.encode())
    write_atomic(ws.results / "report.html", page.encode())
    for name, text in (("json_file", data), ("html_file", page), ("junit_file", to_junit(report))):
        if files.get(name):
            write_atomic(Path(files[name]), text.encode())
    return ws.results / "report.html"


def count_verdicts(report: Report) -> str:
    counts = Counter(c.verdict for c in report.criteria)
    return ", ".join(f"{counts[v]} {SIGNS[v].split(' ', 1)[1]}" for v in reversed(Verdict) if counts[v])


def name(check: CheckResult) -> str:
    return f"{check.id} (yours)" if check.author == "yours" else check.id


def count_passes(checks: Sequence[CheckResult]) -> str:
    """ "17/18, yours 3/4", or nothing."""
    groups = {"": checks, "yours ": [c for c in checks if c.author == "yours"]}
    passed = {k: sum(c.verdict is Verdict.PASS for c in found) for k, found in groups.items()}
    return ", ".join(f"{k}{passed[k]}/{len(found)}" for k, found in groups.items() if found)


def show(result: CriterionResult) -> list[tuple[str, Verdict, str]]:
    """The lines worth reading of one criterion: (name, verdict, message) of what did not pass, in words."""
    if result.note or not result.checks:
        return []
    bad = [c for c in result.checks if c.verdict in (Verdict.FAIL, Verdict.ERROR)]
    waiting = sum(c.verdict is Verdict.NOT_RUN for c in result.checks)
    lines = [(name(c), c.verdict, c.message) for c in bad]
    if waiting:
        lines.append(("", Verdict.NOT_RUN, f"{waiting} more check{'s come' if waiting > 1 else ' comes'} after it"))
    return lines


def to_terminal(report: Report, kit: Kit, details: bool = False, predictions: bool = False) -> None:
    """One screen: each notebook that did not run, each criterion, why, and what to do next. With `predictions`, each
    beside what was measured."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    table = Table(title=kit.settings["title"], title_justify="left", box=None, pad_edge=False)
    for column in ("verdict", "criterion", "checks", "seconds", "why"):
        table.add_column(column, justify="right" if column in ("checks", "seconds") else "left", overflow="fold")

    def row(verdict: Verdict, name: str, checks: str, seconds: str, why: str) -> None:
        table.add_row(Text(SIGNS[verdict], STYLES[verdict]), Text(name), checks, seconds, Text(why))

    for run in report.notebooks:
        row(run.verdict, f"notebook {run.id}", "", f"{run.seconds:.0f}", run.message)
    for result in report.criteria:
        checks = count_passes(result.checks)
        row(result.verdict, f"{result.id}", checks, f"{result.seconds:.0f}", result.note or result.title)
        every = [(name(c), c.verdict, c.message) for c in result.checks]
        for title, verdict, message in every if details and not result.note else show(result):
            row(verdict, f"  {title}", "", "", message)
    console.print(table)
    for answer in report.answers if predictions else ():
        console.print(Text(f"{answer['id']:4} {answer.get('says', answer['text'])}"))
    console.print(f"\n{count_verdicts(report) or 'nothing graded'}. {ADVICE[report.verdict()]}", highlight=False)


def to_html(report: Report, kit: Kit, fragment: bool = False) -> str:
    """A page without scripts or outside resources; with `fragment`, only its body, for a notebook's output."""
    given = {"report": report, "kit": kit.settings, "texts": {c.id: c for c in kit.criteria()}, "fragment": fragment}
    return render("report.html", **given, counts=count_verdicts(report), advice=ADVICE[report.verdict()])


def to_junit(report: Report) -> str:
    """One test suite a criterion, one test case a check; `not_run` is skipped, never passed."""
    suites = {c.id: [(k.id, k.verdict, k.message) for k in c.checks] for c in report.criteria}
    suites |= {c.id: [(c.id, c.verdict, c.note)] for c in report.criteria if not c.checks}
    suites |= {"notebooks": [(n.id, n.verdict, n.message) for n in report.notebooks]} if report.notebooks else {}
    return render("junit.xml", suites=suites)


def render(template: str, **given: Any) -> str:
    """That template, filled; what stands in a message is text, never markup."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markdown_it import MarkdownIt
    from markupsafe import Markup

    folder = FileSystemLoader(Path(__file__).parent)
    env = Environment(loader=folder, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    env.filters["markdown"] = lambda text: Markup(MarkdownIt("commonmark", {"html": False}).render(text))
    env.filters["pretty"] = lambda value: value if isinstance(value, str) else json.dumps(value, indent=1)
    # XML 1.0 cannot carry control characters at all, and messages quote what programs printed
    env.filters["printable"] = lambda text: "".join(c if c >= " " or c in "\n\t" else "\ufffd" for c in text)
    return env.get_template(template).render(**given, signs=SIGNS, Verdict=Verdict)
