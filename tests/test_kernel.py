"""A real kernel that an editor started, not `./lab start`: what its cells run, refuse and leave behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from grader.kit import Kit
from grader.notebooks import build
from grader.processes import holders, wait_until
from grader.workspace import Workspace

# each cell, and what it shows: an error's text where it refuses
CELLS = [
    ("%load_ext grader.magic\nimport os\nprint(os.environ['TOY_HOME'], os.getcwd())", "{work}/store {work}\n"),
    ("# TODO the number\nn = ...", "This cell is not done yet: line 1 still has a TODO: the number"),
    ("%hint", "the number, hint 1 of 3: The solution is one line."),
    ("%%shell\n# TODO show it\n...", "line 2 still has a TODO: show it\n  Put yours instead of line 3, `...`"),
    ("%%shell\n# TODO show it\ncat service/given.txt; echo $LAB_WORK", "{work}\n"),
    ("%%shell\nfalse | cat", "The command failed: exit code 1."),
    ("%%work service/a.py\n# TODO a type\nf: Callable[..., int]", "wrote service/a.py, 2 lines"),
    ("%%work service/b.py\n# TODO a number\nn = ...", "This cell is not done yet: line 2"),
    ("%%shell --serve api\nexec python -m http.server --bind 127.0.0.1 $PORT", "api is ready after"),
    ("%%shell\nsleep 100", "Interrupted after"),
    ("%%shell\npython -c \"import urllib.request as u; print(u.urlopen('http://127.0.0.1:$PORT').status)\"", "200"),
    ("%log api 1", "-- api is running"),
    (
        "from grader.answers import measured\nfrom grader.serve import find_server\n"
        "from grader.shell import find_server as same\nprint(same is find_server, measured.__module__)",
        "True labs.helpers.teaching.answers",  # a notebook of an older kit
    ),
    ("print('every cell above left the kernel alive')", "alive"),
]  # fmt: skip


def shown(cell: Any) -> str:
    return "".join(o.get("text") or "\n".join(o.get("traceback", [])) for o in cell.outputs)


@pytest.mark.slow
def test_cells_in_a_kernel_of_an_editor(toykit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(Kit(toykit), write=True)
    work = toykit / "work"
    Workspace(Kit(toykit), work).provide()
    for name in [n for n in os.environ if n.startswith(("LAB_", "TOY_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LAB_KIT", str(toykit))
    cells = [nbformat.v4.new_code_cell(source) for source, _ in CELLS]
    book = nbformat.v4.new_notebook(cells=cells)
    client = NotebookClient(
        book, timeout=3, interrupt_on_timeout=True, allow_errors=True, resources={"metadata": {"path": str(work)}}
    )
    client.execute()
    for cell, (_, wanted) in zip(book.cells, CELLS, strict=True):
        assert wanted.format(work=work) in shown(cell), (cell.source, shown(cell))
    (port,) = re.findall(r"at http://127\.0\.0\.1:(\d+)", shown(book.cells[8]))
    assert wait_until(lambda: not holders(int(port)), 10), "a server ends with its kernel"
    assert not (work / "service" / "b.py").exists()


def test_loading_is_quick_since_it_imports_nothing_heavy() -> None:
    code = "import sys, labs.helpers.teaching.magic, cluster.names; print(*{m.split('.')[0] for m in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split()
    assert "grader" in loaded
    assert not {"torch", "bentoml", "nbformat", "jupytext", "papermill", "httpx", "rich", "jinja2"} & set(loaded)
