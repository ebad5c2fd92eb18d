"""Every figure in README, docs, manifests and notebooks comes from a run file, or says what it is; and the command that
says so finds what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import ROOT
from figures import entries, logs, walks
from figures.check import check
from figures.drift import find_drifts
from figures.places import read_comments, read_markdown, read_notebook
from figures.rewrite import write_figures, write_tables
from figures.scan import PROSE, spans

from grader.errors import BadKit, LabError


def test_every_figure_has_a_run_file_or_says_what_it_is() -> None:
    done = check(ROOT)
    assert done.problems == [], "`./lab numbers --check`"
    assert done.counts["measured"] > 50


def test_few_figures_have_lost_their_run_file() -> None:
    """Each names the command that measures it again; the limit is as low as can be."""
    registry = entries.read_registry(ROOT)
    assert check(ROOT).counts["lost"] > registry.lost_at_most - 40, "lower lost_at_most in docs/numbers.toml"


README = """# A page
It takes 12 s here.

It was 7 minutes once, and `9 s` is code. A budget of 10 ms, too.

| what | measured |
|---|---|
| a thing of 3 MB | 27 s |
"""
TOML = """lost_at_most = 1
[[measured]]
file = "README.md"
run = "docs/runs/a.json"
says = "takes {there/seconds:.0f} s here"
[[measured]]
file = "README.md"
run = "docs/runs/a.json"
says = "| {cell} s |"
[[lost]]
file = "README.md"
says = "7 minutes once"
date = 2026-11-20
again = "make it"
[[setting]]
file = "*.md"
like = "budget of [0-9]+ ms|of 3 MB"
why = "a setting"
"""
RUN = {"made": "2026-11-26T10:00:00", "there": {"seconds": 12.3}, "cell": 27}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A kit of one page, whose figures are all accounted for."""
    (tmp_path / "docs" / "runs").mkdir(parents=True)
    (tmp_path / "README.md").write_text(README)
    (tmp_path / entries.FILE).write_text(TOML)
    (tmp_path / "docs/runs/a.json").write_text(json.dumps(RUN))
    entries.read_run.cache_clear()
    return tmp_path


def edit(path: Path, find: str, put: str) -> None:
    assert find in path.read_text()
    path.write_text(path.read_text().replace(find, put))


def test_a_page_that_is_right_has_no_problem(root: Path) -> None:
    done = check(root)
    assert done.problems == []
    assert dict(done.counts) == {"measured": 2, "lost": 1, "setting": 2}
    ((entry, found),) = done.lost
    assert entry["again"] == "make it" and [figure.text for figure in found] == ["7 minutes"]


@pytest.mark.parametrize(
    ("file", "find", "put", "said"),
    [
        ("README.md", "takes 12 s", "takes 13 s", "does not say 'takes 12 s here'"),
        ("README.md", "takes 12 s", "takes 13 s", "'13 s' is in no run file"),
        ("README.md", "| 27 s |", "| 28 s |", "'28' is in no run file"),
        ("README.md", "# A page", "# A page\nAnd 40% more.", "'40%' is in no run file: ...And 40% more"),
        ("README.md", "# A page", "# A page\nLost 3 of 40.", "'3 of 40' is in no run file"),
        ("README.md", "7 minutes once", "some minutes once", "no page has '7 minutes once'"),
        ("docs/runs/a.json", "12.3", "12.9", "does not say 'takes 13 s here'"),
        ("docs/runs/a.json", '"made"', '"mode"', "does not say when it was made"),
        ("docs/runs/a.json", '"seconds"', '"minutes"', "the run has no there/seconds"),
        (entries.FILE, "docs/runs/a.json", "docs/runs/b.json", "there is no run file b.json"),
        (entries.FILE, "lost_at_most = 1", "lost_at_most = 0", "1 figures have lost their run file, 0 may"),
        (entries.FILE, "|of 3 MB", "", "'3 MB' is in no run file"),
    ],
)
def test_what_is_wrong_is_found(root: Path, file: str, find: str, put: str, said: str) -> None:
    edit(root / file, find, put)
    problems = check(root).problems
    assert any(said in problem for problem in problems), problems


def test_the_pages_are_written_from_the_run_file(root: Path) -> None:
    edit(root / "docs/runs/a.json", "12.3", "99.8")
    edit(root / "README.md", "It takes 12 s here.", "It takes\n12 s here.")
    entries.read_run.cache_clear()
    assert write_figures(root) == ["README.md: takes 12 s here -> takes 100 s here"]
    assert "It takes\n100 s here." in (root / "README.md").read_text()
    assert check(root).problems == [] and write_figures(root) == []


PAGE = """
[[page]]
file = "docs/made.md"
runs = ["docs/runs/a.json"]
by = "test_numbers:make_page"
again = "./lab make"
"""


def make_page(paths: list[Path]) -> str:
    return f"It took {json.loads(paths[0].read_text())['cell']} s, of 1,000 s.\n"


def make_pages(paths: list[Path]) -> dict[str, str]:
    return {"docs/made.md": make_page(paths), "docs/made.svg": "<svg/>"}


def make_of_run(path: Path) -> str:
    return make_page([path])


def make_of_runs(runs: list[dict[str, int]]) -> str:
    return f"It took {runs[-1]['cell']} s, of 1,000 s.\n"


def test_a_page_that_is_not_made_yet_is_no_problem(root: Path) -> None:
    (root / entries.FILE).write_text(TOML + PAGE.replace("a.json", "of-another*.json"))
    assert check(root).problems == []


def test_a_page_that_is_made_is_what_its_run_files_make(root: Path) -> None:
    (root / entries.FILE).write_text(TOML + PAGE)
    assert check(root).problems == [
        "docs/made.md is not what test_numbers:make_page makes of its run files: `./lab make` writes it"
    ]
    (root / "docs/made.md").write_text("It took 27 s, of 1,000 s.\n")
    assert check(root).problems == []
    edit(root / "docs/made.md", "27", "26")
    assert "is not what" in check(root).problems[0]
    edit(root / entries.FILE, "make_page", "make_pages")
    assert "is not what" in check(root).problems[0]
    edit(root / "docs/made.md", "26", "27")
    assert check(root).problems == []
    edit(root / entries.FILE, 'runs = ["docs/runs/a.json"]', 'runs = ["docs/runs/*.json"]')
    assert check(root).problems == []
    edit(root / entries.FILE, "make_pages", "make_of_run")
    edit(root / entries.FILE, 'again = "./lab make"', 'given = "path"\nagain = "./lab make"')
    assert check(root).problems == []
    edit(root / entries.FILE, "make_of_run", "make_of_runs")
    edit(root / entries.FILE, 'given = "path"', 'given = "runs"')
    assert check(root).problems == []
    edit(root / entries.FILE, "make_of_runs", "no_page")
    assert "cannot make it: AttributeError" in check(root).problems[0]


TABLE = """
[[table]]
file = "README.md"
run = "docs/runs/t.json"
"""


def test_a_table_is_what_its_command_printed(root: Path) -> None:
    (root / entries.FILE).write_text(TOML + TABLE)
    (root / "printed.txt").write_text("some words\n| fault | s |\n|---|---|\n| killed | 26 |\n| frozen | 31 |\n\n9 s\n")
    run = logs.keep_table(root / "printed.txt", "./lab faults")
    (root / "docs/runs/t.json").write_text(json.dumps(run))
    assert run["command"] == "./lab faults" and len(run["table"]) == 4
    assert "does not say '| killed | 26 |', which is what docs/runs/t.json says" in check(root).problems[0]
    (root / "README.md").write_text(f"{README}\n| fault | s |\n|---|---|\n| killed | 25 |\n")
    assert any("'25' is in no run file" in problem for problem in check(root).problems)
    assert write_tables(root) == ["README.md: the table of docs/runs/t.json"]
    assert check(root).problems == [] and write_tables(root) == []
    (root / "printed.txt").write_text("no table\n")
    with pytest.raises(LabError, match="has no table"):
        logs.keep_table(root / "printed.txt", "")


@pytest.mark.parametrize(
    "entry",
    [
        '[[measured]]\nfile = "README.md"\nsays = "a"',
        '[[measured]]\nfile = "README.md"\nrun = "docs/runs/a.json"\nsays = "takes 12 s here"',
        '[[lost]]\nfile = "README.md"\nsays = "a"\ndate = 2026-11-26',
        '[[setting]]\nfile = "README.md"\nwhy = "a"',
        '[[setting]]\nfile = "README.md"\nwhy = "a"\nsays = "b"\nlike = "c"',
        '[[guessed]]\nfile = "README.md"\nwhy = "a"\nsays = "b"',
    ],
)
def test_a_malformed_entry_is_refused(root: Path, entry: str) -> None:
    (root / entries.FILE).write_text(f"lost_at_most = 0\n{entry}\n")
    with pytest.raises(BadKit):
        check(root)


@pytest.mark.parametrize(
    "text",
    [
        "27 s", "0.15 s", "36 to 44 s", "4-8 s", "1,970 MB", "40%", ".12% of it", "25 of 153", "17:08", "2.4e-7",
        "12 microseconds", "97, 431, 692", "30 min 3 s", "3 times", "85 answers a second", "66 texts/s",
    ],
)  # fmt: skip
def test_a_quantity_is_a_figure(text: str) -> None:
    assert PROSE.search(f"It is {text} here.")


@pytest.mark.parametrize(
    "text",
    ["BentoML 1.4.39", "port 5001", "a status of 503", "many 503s", "lab 07", "issue 5540", "4 to 64 settings", "x2"],
)
def test_a_name_is_none(text: str) -> None:
    assert not PROSE.search(f"It is {text} here.")


def test_only_words_are_read() -> None:
    page = "# Head\nA line\nof 3 s.\n- a point\n\n    code 4 s # a remark of 5 s\n\n```\n6 s\n```\n"
    page += "| a | b |\n|---|---|\n| 7 s | `8 s` |\n"
    found = [block.text for block in read_markdown(page)]
    assert found == ["# Head", "A line of 3 s.", "- a point", "a remark of 5 s", "| a | b |", "| 7 s | `8 s` |"]
    assert [
        block.text for block in read_notebook('# %% [markdown] tags=["why"]\n# It is\n# 3 s.\n\n# %%\nx = 1 # 4 s\n')
    ] == ["It is 3 s."]
    assert [block.text for block in read_comments("# It is\n# 3 s.\na: 4 # some 5 s\n")] == ["It is 3 s.", "some 5 s"]


def test_a_tables_cells_are_figures_and_its_head_is_none() -> None:
    head, row = list(read_markdown("| what, in s | 2026 |\n|---|---|\n| 10 MB, 3 nodes | 11 of 72, `4` |\n"))
    assert list(spans(head)) == []
    assert [row.text[begin:end] for begin, end in spans(row)] == ["10 MB", "11", "72"]


def test_a_column_of_a_table_can_be_registered_alone(root: Path) -> None:
    (root / "README.md").write_text("| what | wanted | measured |\n|---|---|---|\n| a | 1 | 2 |\n")
    (root / entries.FILE).write_text(
        'lost_at_most = 0\n[[setting]]\nfile = "README.md"\ntable = "| what"\ncolumns = [2]\nwhy = "wanted"\n'
    )
    (problem,) = check(root).problems
    assert "'2' is in no run file" in problem


def test_seconds_can_be_said_as_minutes() -> None:
    said = [entries.formed(366.8, form) for form in ("minutes", "m:ss", "m min s", ".0f")]
    assert said == ["6.1", "6:07", "6 min 7 s", "367"]


def test_a_walk_is_kept_as_a_run_file(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="has no report"):
        walks.keep_walk(tmp_path)
    results = tmp_path / "results"
    results.mkdir()
    one = {"id": "sc1-a", "seconds": 3.0, "verdict": "pass", "checks": [1, 2]}
    (results / "report.json").write_text(json.dumps({"made": "2026-11-26", "machine": {"cpus": 2}, "criteria": [one]}))
    (results / "00_start.ipynb").write_text(json.dumps({"metadata": {"papermill": {"duration": 37.84}}}))
    (tmp_path / "answers.json").write_text(json.dumps({"00a": {"text": "", "measured": 52.0}, "00b": {"text": ""}}))
    run = walks.keep_walk(tmp_path)
    assert run["labs"] == {"00": 37.8} and run["answers"] == {"00a": 52.0}
    assert run["criteria"]["sc1"] == {"seconds": 3.0, "verdict": "pass", "checks": 2} and entries.date_of(run)


def test_one_lab_is_kept_as_a_run_file(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    with pytest.raises(LabError, match="no lab 10 that ran to its end"):
        walks.keep_lab(tmp_path, "10")
    about = {"papermill": {"duration": 85.13, "end_time": "2026-11-26T16:34:42+00:00"}}
    (tmp_path / "results/10_choose.ipynb").write_text(json.dumps({"metadata": about}))
    (tmp_path / "answers.json").write_text(json.dumps({"10c": {"measured": "b"}, "11a": {"measured": "c"}}))
    run = walks.keep_lab(tmp_path, "10")
    assert run["labs"] == {"10": 85.1} and run["answers"] == {"10c": "b"} and entries.date_of(run) == "2026-11-26"


def test_drift_is_told_in_yardsticks_with_the_command(root: Path) -> None:
    folder = root / "docs/kit/runs"
    folder.mkdir(parents=True)
    for day, stick, sc1, sc2 in (("01", 10.0, 5.0, 9.0), ("02", 20.0, 10.0, 24.0), ("03", 20.0, 10.4, 24.0)):
        measures = {"sc1": {"seconds": [sc1, sc1, 99.0]}, "sc2": {"seconds": [sc2]}}
        run = {"made": f"2026-11-{day}", "yardstick": [stick], "measures": measures}
        (folder / f"{day}.json").write_text(json.dumps(run))
    assert find_drifts(root) == []  # twice as slow a machine, and a measure that moves by less than a sixth
    (folder / "03.json").unlink()
    (line,) = find_drifts(root)
    assert line == "drift: sc2 takes 1.20 yardsticks, 0.90 in the run before; again: ./lab bench kit sc2"


CI = """
[   0s] == Prometheus for lab 08, as a learner gets it
[  18s] == ./lab walk
  [   5s] 06_shapes: cell 1 of 32
  [ 370s] 06_shapes: done
[1821s] == ./lab walk again: what has not changed is skipped, and all is graded
  [   0s] 06_shapes: done
[2124s] == ./lab test
[   1s] ============================= test session starts ==============================
[1028s] = 2 failed, 2332 passed, 47 skipped, 26 deselected, 10 warnings in 1026.32s (0:17:06) =
"""
REST = """
[   0s] == in turn: mutants and right work
[ 219s] == in turn: two incidents
[ 424s] ======================== 54 passed in 423.70s (0:07:03) ========================
[ 645s] == done
"""


def test_what_ci_printed_is_kept_as_a_run_file(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(CI)
    (tmp_path / "b.log").write_text(REST)
    run = logs.keep_ci([tmp_path / "a.log", tmp_path / "b.log"])
    assert run["stages"] == {"install": 18, "walk": 1803, "again": 303, "tests": 1026, "mutants": 219, "incidents": 426}
    assert (run["total"], run["labs"], run["walk_without_06"]) == (3795, {"06": 370}, 1433)
    assert (run["tests"], run["skipped"]) == (2381, 47) and entries.date_of(run)
    with pytest.raises(LabError, match=r"no output of \.ci/run"):
        logs.keep_ci([tmp_path / "b.log"])


def test_drained_nodes_are_kept_from_tables_and_from_what_was_printed(tmp_path: Path) -> None:
    head = "run,what,connections,requests,lost,how,longest_s,late_s,seconds"
    (tmp_path / "drain.csv").write_text(f"{head}\n1,rolling update,new,503,0,-,0.2,0.0,51\n")
    line = "run 2  what drain of worker2  connections new  requests 503  lost 4  how 4 x 500  longest_s 1.3  late_s 0.0"
    (tmp_path / "drain.log").write_text(f"two replicas in a ...\n{line}  seconds 51\n")
    run = logs.keep_drains([tmp_path / "drain.csv", tmp_path / "drain.log"])
    assert run["all"] == {"runs": 2, "requests": 1006, "lost": 4, "least_s": 0.2, "most_s": 1.3}
    assert run["drain"]["runs"] == run["rolling update"]["runs"] == 1
