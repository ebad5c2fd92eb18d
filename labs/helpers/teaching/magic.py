"""What a notebook asks of the kit: `%%work FILE`, `%%shell`, `%log`, `%stop`, `%%answer ID`, `%grade sc1`, `%hint`,
`%incident 05`. Load with `%load_ext grader.magic`, which also gives the kernel its workspace's environment."""

import difflib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from grader.environ import child_environ
from grader.errors import Refused
from grader.kit import Kit
from grader.warm import keep_warm
from grader.workspace import WALK, Workspace, digest, learner_workspace, read_json, write_atomic
from labs.helpers.teaching import answers, guide, kernel, serve
from labs.helpers.teaching import shell as commands
from labs.helpers.teaching.answers import answer, ask_first, skip
from labs.helpers.teaching.stubs import forget_refusal, last_refusal, refuse_undone

_warm: dict[str, str] = {}  # tells a grading of the process that is kept for it
# what notebooks of older kits import, by the names that it had then
OLD_NAMES = {"grader.answers": answers, "grader.serve": serve, "grader.shell": commands}


def work(line: str, cell: str) -> None:
    """Writes the cell to a file of the workspace, unless that file was changed elsewhere since the last time.
    In the walk's workspace and in copies, which hold nobody's work, it always writes."""
    ws, name = learner_workspace(Kit()), line.split()[0] if line.split() else ""
    path = (ws.root / name).resolve()
    if not name or not path.is_relative_to(ws.root.resolve()):
        raise Refused(f"%%work needs a file inside {ws.root}, not {name!r}.", "Write it as %%work service/FILE.")
    write_work(ws, name, path, cell, over="--over" in line or bool(ws.name))
    print(f"wrote {name}, {len(cell.splitlines())} lines")


def write_work(ws: Workspace, name: str, path: Path, text: str, over: bool) -> None:
    known = read_json(ws.root / ".lab.json").get(name)
    if path.exists() and digest(path.read_bytes()) not in (known, digest(text.encode())):
        if not over:
            there = path.read_text(errors="replace").splitlines()
            diff = difflib.unified_diff(there, text.splitlines(), f"{name} (there)", f"{name} (this cell)", lineterm="")
            print("\n".join(diff))
            remedy = f"Copy what you want to keep into this cell; `%%work {name} --over` backs up the other version."
            raise Refused(f"{name} was changed outside this cell; nothing was overwritten.", remedy)
        print(f"the other version is kept in {ws.back_up(name)}")
    write_atomic(path, text.encode())
    ws.remember(name, digest(text.encode()))


def grade(line: str) -> None:
    """Runs `lab grade` in a process of its own, out of reach of what was patched in this kernel, and shows it: the card
    where pages can be shown, the same in words where they cannot (a terminal, a diff). The walk grades at its end, when
    later notebooks have done all that they do to the world; twice would take it five minutes longer."""
    from IPython.display import display

    if learner_workspace(Kit()).name == WALK:
        return print(f"The walk grades {line.strip()} when all notebooks have run: ./lab walk, its report.")
    forget_refusal()
    with tempfile.TemporaryDirectory() as folder:
        fragment = Path(folder) / "fragment.html"
        command = [sys.executable, "-P", "-m", "grader.cli", "grade", *line.split(), "--fragment", str(fragment)]
        # kernels ask for colours, as escape sequences
        plain = {**child_environ(), **_warm, "COLUMNS": "110", "FORCE_COLOR": ""}
        done = subprocess.run(command, capture_output=True, text=True, env=plain)
        html = fragment.read_text() if fragment.exists() else ""
    if not html:
        said = done.stderr.strip() or done.stdout.strip()
        raise Refused(f"Grading did not end with a report (exit code {done.returncode}).", said)
    display({"text/plain": done.stdout.strip(), "text/html": html}, raw=True)
    settings = Kit().settings.get("warm", {})
    if not _warm and set(line.split()) & set(settings.get("criteria", [])):
        _warm.update(keep_warm(settings))  # it has its imports by the time that somebody grades again


def incident(line: str) -> None:
    """`%incident 05`: `lab incident` in a process of its own; what it says is shown as it says it."""
    command = [sys.executable, "-P", "-m", "labs.helpers.teaching", "incident", *line.split()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for said in process.stdout or ():
            print(said, end="", flush=True)


def hint(line: str) -> None:
    """`%hint [CHECK or TODO]`: the next step for the cell that refused last, else for the last check that failed."""
    print("\n".join(guide.hint(learner_workspace(Kit()), line.strip(), last_refusal())))


def say_if_older(shell: Any) -> None:
    """Two sentences in the first cell of a notebook that an older kit made, where the editor names the notebook."""
    ws, name = learner_workspace(Kit()), os.environ.get("JPY_SESSION_NAME") or shell.user_ns.get("__vsc_ipynb_file__")
    for lab in ws.kit.labs() if name and not ws.name else []:
        if lab.notebook == Path(name).name and guide.is_older(ws, lab):
            print(guide.notice(lab))


def load_ipython_extension(shell: Any) -> None:
    kernel.enter()
    sys.modules.update(OLD_NAMES)
    say_if_older(shell)
    for cell_magic in (work, answer, commands.shell):
        shell.register_magic_function(cell_magic, "cell")
    for magic in (commands.log, commands.stop, skip, grade, incident, hint):
        shell.register_magic_function(magic, "line")
    for look in (refuse_undone, ask_first):
        if look not in shell.input_transformers_cleanup:
            shell.input_transformers_cleanup.append(look)
