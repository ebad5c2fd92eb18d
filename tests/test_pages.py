"""The pages of results/site/: made again only when something changed, honest about what was not run, fit for all."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import pytest
from browser_page import CHROMIUM, browser
from bs4 import BeautifulSoup, Tag
from conftest import ROOT
from test_palette import READABLE, contrast, jumps, made_report

from grader.kit import Kit
from grader.model import NotebookRun, Report, Verdict
from grader.notebooks import make_notebook
from grader.workspace import Workspace
from pages import book as books
from pages import site
from pages.__main__ import cleaned

KIT = Kit(ROOT)
KEPT = sorted(site.KEPT.glob("*.ipynb"))
WALKED = ROOT / ".lab" / "walk" / "results"
GREY = "#eceff3"  # behind the name of a cell
PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGP4z8DwHwAFAAH/iZk9HQAAAABJRU5ErkJggg=="
FIGURE = f'<figure><img src="data:image/png;base64,{PICTURE}" alt="Seven of eight are near."></figure>'
MODULE_STYLE = re.sub(r"/\*.*?\*/", "", (site.HERE / "style.css").read_text(), flags=re.S)


def executed(lab: Any, minute: int = 0) -> Any:
    """The solution of a lab as if papermill had run it, with an output of each kind."""
    book = nbformat.reads(make_notebook(lab, True, "abc1234567"), as_version=4)
    shown = {"text/html": FIGURE, "text/plain": "f"}
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    code[0].outputs = [
        nbformat.v4.new_output("stream", text="one "),
        nbformat.v4.new_output("stream", text="line \x1b[31mred\x1b[0m\n"),
        nbformat.v4.new_output("stream", name="stderr", text="a warning\n"),
        nbformat.v4.new_output(
            "stream", text="NAME    READY   " + 30 * "WIDE  " + "\nname    1/1     " + 30 * "w     "
        ),
        nbformat.v4.new_output("display_data", shown),
        nbformat.v4.new_output("display_data", {"text/markdown": "**Said.**\n\n| | a |\n|---|---|\n| b | c |"}),
    ]
    book.metadata["papermill"] = {"end_time": f"2026-01-02T03:{minute:02}:05+00:00", "duration": 61.2}
    return book


def walked(folder: Path, numbers: tuple[str, ...] = ("00", "01")) -> tuple[Workspace, Report]:
    """A workspace with the executed notebooks of those labs, and a report in which the others were not run."""
    ws = Workspace(KIT, folder, "walk")
    (ws.results).mkdir(parents=True, exist_ok=True)
    runs = []
    for lab in KIT.labs():
        ran = lab.number in numbers
        verdict, message = (Verdict.PASS, "") if ran else (Verdict.NOT_RUN, "no Docker")
        runs.append(NotebookRun(lab.name, verdict, 61.2 * ran, message))
        if ran:
            nbformat.write(executed(lab), ws.results / lab.notebook)
    return ws, replace(made_report(), made="2026-01-02T03:04:05+00:00", notebooks=tuple(runs))


@pytest.fixture(autouse=True)
def _nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But in `made`, which is made before this: only there are the real ones worth their seconds."""
    monkeypatch.setattr(site, "KEPT", tmp_path / "nothing")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of two labs that ran and of those that are kept in the kit."""
    index: Path = KIT.call("pages", *walked(tmp_path_factory.mktemp("pages")))  # as `./lab walk` does
    return index.parent


def soup(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(), "html.parser")


def said(part: Tag) -> str:
    return " ".join(part.get_text(" ").split())


def text(path: Path) -> str:
    return said(soup(path))


# ---------------------------------------------------------------- what it says


def test_a_page_says_when_it_was_made_and_by_which_commit(made: Path) -> None:
    page = text(made / "00_start_here.html")
    assert "Executed on 2026-01-02 at 03:00 UTC in 61 s, by commit abc1234567." in page
    assert "one line red" in page and "standard error a warning" in page, "outputs are there, joined and in order"
    assert "Two models sort them" in page and "typed command" in page and "file practice/triage.py" in page


def test_the_index_says_what_was_not_run_and_why(tmp_path: Path) -> None:
    index = site.make_site(*walked(tmp_path))
    cards = {card.h2.get_text(" ", strip=True): card for card in soup(index).select("li.lab-card") if card.h2}
    assert len(cards) == len(KIT.labs())
    ran, missing = cards["00 Start here"], cards["04 Image and registry"]
    assert "ran to its end in 61 s" in said(ran) and ran.select_one('a[href="00_start_here.html"]')
    assert "not run (no Docker)" in said(missing) and not missing.select("a")
    assert not (index.parent / "04_image_and_registry.html").exists()


def test_a_lab_that_was_not_run_shows_an_older_run_with_its_date(tmp_path: Path) -> None:
    ws, report = walked(tmp_path)
    nbformat.write(executed(KIT.lab("04"), minute=7), ws.results / KIT.lab("04").notebook)
    index = site.make_site(ws, report)
    page = text(index.parent / "04_image_and_registry.html")
    assert "The last walk did not run this lab (no Docker). What you see is an earlier run." in page
    assert "Executed on 2026-01-02 at 03:07 UTC" in page
    assert "What can be read here was executed on 2026-01-02 at 03:07 UTC" in text(index)


def test_what_has_changed_since_is_counted(tmp_path: Path) -> None:
    ws, report = walked(tmp_path, ("00",))
    book = executed(KIT.lab("00"))
    book.cells[0].source += " and more"
    nbformat.write(book, ws.results / KIT.lab("00").notebook)
    index = site.make_site(ws, report)
    assert "one of its cells reads differently now" in text(index.parent / "00_start_here.html")


def test_a_run_that_stopped_says_so(tmp_path: Path) -> None:
    ws, report = walked(tmp_path)
    broken = NotebookRun("01_save_two_models", Verdict.ERROR, 1.0, "cell 01-07: it broke")
    runs = tuple(broken if r.id == broken.id else r for r in report.notebooks)
    index = site.make_site(ws, replace(report, notebooks=runs))
    assert "It stopped with an error: cell 01-07: it broke" in text(index.parent / "01_save_two_models.html")
    assert "stopped with an error (cell 01-07: it broke)" in text(index)


def test_only_what_changed_is_made_again(tmp_path: Path) -> None:
    ws, report = walked(tmp_path)
    folder = site.make_site(ws, report).parent
    pages = sorted(folder.glob("0*.html"))
    before = {page: page.stat().st_mtime_ns for page in pages}
    site.make_site(ws, report)
    assert {page: page.stat().st_mtime_ns for page in pages} == before
    nbformat.write(executed(KIT.lab("01"), minute=9), ws.results / KIT.lab("01").notebook)
    site.make_site(ws, report)
    assert [p.name for p in pages if p.stat().st_mtime_ns != before[p]] == ["01_save_two_models.html"]


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_what_is_kept_is_whole_and_names_no_machine(path: Path) -> None:
    """An executed notebook of a lab of today, with its date; nothing in it of the machine that made it."""
    book = books.read(path)
    assert path.stem in [lab.name for lab in KIT.labs()] and book.metadata.papermill.end_time
    assert all(c.execution_count for c in book.cells if c.cell_type == "code" and c.source.strip())
    assert not re.findall(r"/work/|/root/|/home/(?!bentoml)|https?://(?!127\.|localhost)[\d.]+:\d+", path.read_text())


def test_keeping_takes_out_what_is_of_one_machine() -> None:
    home, text = (
        Path.home(),
        "at /a/kit/service of {home}/x, by http://10.0.0.7:8091/simple/ and http://127.0.0.1:3000/",
    )
    kept = cleaned(f'{text.format(home=home)} src="data:image/png;base64,{PICTURE}"', Path("/a/kit"))
    assert kept.startswith(
        "at ~/serving-lab/service of ~/x, by https://mirror.example/ and http://127.0.0.1:3000/ src="
    )
    assert f"base64,{PICTURE}" not in kept and "data:image/png;base64,iVBOR" in kept


def test_labs_that_need_docker_are_kept() -> None:
    assert {"04_image_and_registry", "05_plain_kubernetes"} <= {path.stem for path in KEPT}


# ---------------------------------------------------------------- for all readers


def find_faults(path: Path) -> list[str]:
    """What of a page a screen reader, a keyboard or a print-out would stumble over."""
    page, found = soup(path), list[str]()
    if not page.html or page.html.get("lang") != "en":
        found.append("it names no language")
    if not page.title or len(page.title.get_text(strip=True)) < 8:
        found.append("it has no title")
    levels = [int(h.name[1]) for h in page.find_all(re.compile("^h[1-6]$"))]
    if levels[:1] != [1] or levels.count(1) != 1 or jumps(levels):
        found.append(f"headings out of order: {levels}")
    if len(page.find_all("main")) != 1:
        found.append("it has not one main part")
    found += [f"a link without words: {a}" for a in page.find_all("a") if not words(a)]
    found += [
        f"a link to nothing: {a['href']}"
        for a in page.find_all("a", href=True)
        if not leads(str(a["href"]), page, path)
    ]
    for image in page.find_all("img"):
        alt = str(image.get("alt") or "")
        if len(alt.split()) < 4 or "no description" in alt.lower():
            found.append(f"a picture whose finding is not told: {alt!r}")
    for table in page.find_all("table"):
        heads = table.find_all("th")
        if not heads or not all(h.get("scope") and h.get_text(strip=True) for h in heads):
            found.append(f"a table without heads: {table.get_text(' ', strip=True)[:60]}")
    names = [tag["id"] for tag in page.find_all(id=True)]
    found += [f"two parts are called {name}" for name in {n for n in names if names.count(n) > 1}]
    return found


def words(link: Tag) -> str:
    return str(link.get("aria-label") or link.get_text(strip=True))


def leads(href: str, page: BeautifulSoup, path: Path) -> bool:
    name, _, part = href.partition("#")
    if re.match(r"https?://", href):
        return True
    there = path.with_name(name) if name else path
    return there.is_file() and (not part or bool((soup(there) if name else page).find(id=part)))


def test_every_page_is_fit_for_all_readers(made: Path) -> None:
    pages = sorted(made.glob("*.html"))
    assert len(pages) >= 6
    assert {p.name: find_faults(p) for p in pages if find_faults(p)} == {}


def test_the_finder_finds(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    for bad, told in {
        '<html lang="en"><title>A good title</title><main><h1>a</h1><h3>b</h3></main>': "out of order",
        "<html><title>A good title</title><main><h1>a</h1></main>": "no language",
        '<html lang="en"><main><h1>a</h1></main>': "no title",
        '<html lang="en"><title>A good title</title><h1>a</h1>': "not one main",
        '<html lang="en"><title>A good title</title><main><h1>a</h1><a href="page.html"></a></main>': "without words",
        '<html lang="en"><title>A good title</title><main><h1>a</h1><a href="gone.html">b</a></main>': "to nothing",
        '<html lang="en"><title>A good title</title><main><h1>a</h1><img src="x"></main>': "not told",
        '<html lang="en"><title>A good title</title><main><h1>a</h1><img src="x" '
        'alt="No description has been provided for this image"></main>': "not told",
        '<html lang="en"><title>A good title</title><main><h1>a</h1><table><tr><td>1</td></tr></table></main>': "heads",
    }.items():
        page.write_text(bad)
        assert any(told in fault for fault in find_faults(page)), (told, find_faults(page))


def colours_of_text() -> set[str]:
    """Every colour that style.css or code_style() gives to words."""
    named = dict(re.findall(r"(--[a-z]+): (#\w+)", MODULE_STYLE))
    used = re.findall(r"(?<![a-z-])color: (var\((--[a-z]+)\)|#\w+)", MODULE_STYLE + books.code_style())
    return {named[name] if name else plain for plain, name in used if plain != "#fff"}


@pytest.mark.parametrize("behind", ["#ffffff", "#f5f7f9", GREY])
def test_every_colour_of_words_is_readable(behind: str) -> None:
    assert f"--code: {'#f5f7f9'}" in MODULE_STYLE and GREY in MODULE_STYLE
    assert len(colours_of_text()) > 10
    for colour in colours_of_text():
        assert contrast(colour, behind) >= READABLE, f"{colour} on {behind}: {contrast(colour, behind):.2f}"


def test_colours_behind_words_leave_them_readable() -> None:
    for colour, behind in re.findall(r"color: (?:var\(--predict\)|(#\w+)); background: (#\w+)", MODULE_STYLE):
        assert contrast(colour or "#7a3c00", behind) >= READABLE
    assert contrast("#ffffff", "#00548f") >= READABLE, "the page that one is on"


def rules(kinds: tuple[str, ...] = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice")) -> dict[str, Any]:
    return {"runOnly": {"type": "tag", "values": list(kinds)}}


@pytest.mark.slow
@pytest.mark.browser
def test_axe_finds_nothing(made: Path) -> None:
    """axe-core in Chromium, which sees what is drawn: contrast, names, landmarks, what the keyboard reaches."""
    from axe_playwright_python.sync_playwright import Axe

    if CHROMIUM is None:
        strict = bool(os.environ.get("LAB_STRICT"))
        (pytest.fail if strict else pytest.skip)("not run: no Chromium (apt-get install chromium)")
    found = {}
    with browser() as page:
        for path in sorted(made.glob("*.html")):
            page.goto(path.as_uri())
            result = Axe().run(page, options=rules()).response
            assert len(result["passes"]) > 15, "axe has looked"
            found[path.name] = [(v["id"], v["nodes"][0]["html"][:120], len(v["nodes"])) for v in result["violations"]]
            page.set_viewport_size({"width": 390, "height": 800})  # a telephone's: nothing is off to the side
            over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            found[path.name] += [("reflow", f"{over} pixels too wide", 1)] if over > 0 else []
            page.set_viewport_size({"width": 1180, "height": 860})
        page.set_content("<html><body><img src='x'><p style='color:#aaa'>pale</p></body></html>")
        caught = {v["id"] for v in Axe().run(page, options=rules()).response["violations"]}
    assert {"image-alt", "color-contrast", "html-has-lang"} <= caught, "axe finds what is planted"
    assert {name: faults for name, faults in found.items() if faults} == {}


@pytest.mark.slow
def test_the_walks_own_pages(tmp_path: Path) -> None:
    """With this checkout's walk, where there is one: the real outputs."""
    if not (WALKED / "report.json").is_file():
        pytest.skip("no walk in this checkout: ./lab walk")
    shutil.copytree(WALKED, tmp_path / "results", ignore=shutil.ignore_patterns("site", "prometheus", "sc*"))
    report = Report.from_json(json.loads((WALKED / "report.json").read_text()))
    folder = site.make_site(Workspace(KIT, tmp_path, "walk"), report).parent
    faults = {p.name: find_faults(p) for p in sorted(folder.glob("*.html"))}
    assert not any(faults.values()), faults


def test_a_notebook_for_readers_names_no_commit() -> None:
    """Only one that is executed does: `./lab build` has to make the same everywhere."""
    assert "commit" not in json.loads(make_notebook(KIT.lab("00"), solved=True))["metadata"]["lab"]
