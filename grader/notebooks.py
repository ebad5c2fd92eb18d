"""From one source (solutions/NN_name.py) to the learner's and the solution's notebook, and running one to its end.

In a code cell, the lines from `# TODO` to `# solution` are the learner's stub, those from there to `# end` are ours.
"""

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from grader.errors import BadKit, NotebookFailed
from grader.kit import Kit, Lab
from grader.processes import run
from grader.workspace import Workspace, write_atomic

OWN_KERNEL = "serving-lab-grader"
REGION = re.compile(
    r"^(?P<pad> *)# TODO (?P<what>.*)\n(?P<stub>(?:.*\n)*?) *# solution\n(?P<ours>(?:.*\n)*?) *# end$", re.M
)
# the same in a source, where `lead` comments out another language
SOURCE_REGION = re.compile(
    r"^(?P<lead>(?:# )?) *# TODO (?P<what>.*)\n(?P<stub>(?:.*\n)*?)(?P=lead) *# solution\n"
    r"(?P<ours>(?:.*\n)*?)(?P=lead) *# end\n"
    r"(?:#? *\n)*(?=(?P<after>.*))",  # not taken: it may be the next TODO's
    re.M,
)


def make_notebook(lab: Lab, solved: bool, commit: str = "") -> str:
    """The text of the .ipynb, outputs absent, the same on every machine: cell ids are NN-ii. With the kit's commit, if
    it is to be executed: a later reader can tell of what it is a run."""
    import jupytext
    import nbformat

    book = jupytext.read(lab.source)
    for i, cell in enumerate(book.cells):
        cell.id = f"{lab.number}-{i:02}"
        cell.source = (solve if solved else unsolve)(cell.source) if cell.cell_type == "code" else cell.source
    book.metadata = {k: book.metadata[k] for k in ("kernelspec", "lab") if k in book.metadata}
    book.metadata["language_info"] = {"name": "python"}
    if commit:
        book.metadata["lab"] = {**book.metadata["lab"], "commit": commit}
    book.nbformat, book.nbformat_minor = 4, 5
    nbformat.validate(book)
    return str(nbformat.writes(book)) + "\n"


def solve(source: str) -> str:
    """The cell with our block in the place of the stub; the TODO's text stays as a comment."""
    return REGION.sub(lambda m: f"{m['pad']}# {m['what']}\n{m['ours']}".rstrip("\n"), source)


def unsolve(source: str) -> str:
    """The cell with the stub, without our block."""
    return REGION.sub(lambda m: f"{m['pad']}# TODO {m['what']}\n{m['stub']}".rstrip("\n"), source)


def bare(lines: Iterable[str], lead: str) -> tuple[str, ...]:
    """A source's lines as they are in the notebook."""
    return tuple("" if line == lead.strip() else line.removeprefix(lead) for line in lines)


def build(kit: Kit, write: bool) -> list[str]:
    """Makes every notebook from its source. Returns what was, or with `write=False` what is, out of date."""
    stale = []
    for lab in kit.labs():
        for folder, solved in (("labs", False), ("solutions", True)):
            path, text = kit.root / folder / lab.notebook, make_notebook(lab, solved)
            if not path.exists() or path.read_text() != text:
                stale.append(f"{folder}/{lab.notebook}")
                if write:
                    write_atomic(path, text.encode())
    wanted = {lab.notebook for lab in kit.labs()}
    extra = [p for f in ("labs", "solutions") for p in (kit.root / f).glob("*.ipynb") if p.name not in wanted]
    if extra:
        raise BadKit(extra[0], "this notebook has no source in solutions/")
    return stale


def execute(
    notebook: Path, out: Path, ws: Workspace, note: Callable[[str], None] = lambda _: None,
    limit: float = 3600, cell_limit: int = 600, apart: Path | None = None, extra: Mapping[str, str] | None = None,
) -> None:  # fmt: skip
    """Runs the notebook with papermill, in the workspace; the executed copy goes to `out`. Raises NotebookFailed.

    `apart`: in that folder instead, by a kernel that nothing of the workspace, nor of a person's home, can change."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.unlink(missing_ok=True)  # an old copy must not pass for this run's
    kernel, environ = "python3", {**ws.environ(), **(extra or {})}
    if apart:
        kernel, environ = OWN_KERNEL, {**environ, **own_kernel(apart)}
    where = apart or ws.root
    command = [sys.executable, "-P", "-m", "papermill", str(notebook), str(out), "--cwd", str(where), "--kernel",
               kernel, "--execution-timeout", str(cell_limit), "--progress-bar"]  # fmt: skip

    def on_line(line: str) -> None:
        if count := re.search(r"\| (\d+)/(\d+) \[", line):
            note(f"cell {count[1]} of {count[2]}")

    done = run(command, limit, cwd=where, env=environ, on_line=on_line)
    if done.code is None:
        raise NotebookFailed(out, "", f"ran past its limit of {limit:g} s and was ended")
    check_executed(out, "" if done.ok else done.tail(3))


def own_kernel(folder: Path) -> dict[str, str]:
    """Writes a kernelspec of our own there, and returns what makes Jupyter and IPython look nowhere else."""
    spec = folder / "jupyter" / "kernels" / OWN_KERNEL / "kernel.json"
    argv = [sys.executable, "-P", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    write_atomic(spec, json.dumps({"argv": argv, "display_name": OWN_KERNEL, "language": "python"}).encode())
    places = {"JUPYTER_PATH": "jupyter", "JUPYTER_DATA_DIR": "jupyter", "JUPYTER_RUNTIME_DIR": "runtime",
              "JUPYTER_CONFIG_DIR": "config", "JUPYTER_CONFIG_PATH": "config", "IPYTHONDIR": "ipython"}  # fmt: skip
    return {name: str(folder / place) for name, place in places.items()} | {"PYTHONSAFEPATH": "1"}


def check_executed(path: Path, trouble: str = "") -> None:
    """Every code cell ran and none failed. papermill's own status is no proof: it calls a cell "completed" whose time
    ran out, or in which the kernel died. `trouble` is what papermill said if it ended badly."""
    import nbformat

    if not path.exists():
        raise NotebookFailed(path, "", f"left no executed copy: {trouble}")
    last = None
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        if cell.metadata.get("papermill", {}).get("start_time"):
            last = cell
        if problem := find_problem(cell, begun=cell is last):
            raise NotebookFailed(path, cell.id, f"{problem} -- {first_line(cell.source)!r}")
    if trouble:
        died = "DeadKernelError" in trouble
        reason = "the kernel died in this cell" if died else f"papermill ended badly: {trouble}"
        raise NotebookFailed(path, last.id if last else "", reason)


def find_problem(cell: Any, begun: bool = True) -> str:
    """What went wrong in an executed code cell, or nothing. A traceback on standard error counts, unless the cell is
    tagged `shows-traceback`: that is how an exception in a thread, a task or a shell command shows."""
    shows = "shows-traceback" in cell.metadata.get("tags", [])
    for output in cell.outputs:
        if output.output_type == "error" and output.ename == "KeyboardInterrupt":
            return "ran past its time and was interrupted"
        if output.output_type == "error" and not shows:
            return f"{output.ename}: {first_line(output.evalue)}"
        text = output.get("text", "") if output.output_type == "stream" else ""
        if "Traceback (most recent call last)" in text and not shows:
            return f"a swallowed exception: {text.strip().splitlines()[-1]}"
    return "" if begun else "was never run"


def first_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[0][:160]
