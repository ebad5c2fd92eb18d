"""Submissions that would rather be passed than right: named, as data, each with what the grading must see of it.

Each is graded in three ways: `own`, as a learner's own work is (the same user, no sandbox), `forked`, the same off a
process that is kept warm, and `boxed`, as others' work is. In the first two, what a process of the same user can do to
another is beyond a grader: those are tried boxed alone, and so is what would harm this machine. Boxed, none passes.
LAB_CHEATS=all tries all of them, LAB_CHEATS=2/3 one third; without it the day's third.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import copy_toykit, need_sandbox, run_lab
from fuzzing import KEPT, read_evidence
from live_cluster import apply, namespace_for, need_cluster

from grader.judge import judge_criterion
from grader.kit import Kit
from grader.model import Evidence
from grader.warm import keep_warm, stop_warm
from grader.workspace import Workspace

T6 = {
    "t6.toml": 'id = "t6-prepares"\ntitle = "Texts are prepared"\noutcome = "By code."\nlab = "01"\nneeds = []\n',
    "t6.py": '''
import random
from grader.kit import check, probe
from grader.model import Finding
from grader.world.saved import saved_models

@probe(limit=25)
def prepared(ws):
    asked = ["Known Text", "".join(random.choices("ABCdef", k=12))]
    with saved_models(ws) as subject:
        subject.ask("use_service", folder=str(ws.service))
        told, problem = subject.ask("prepare", patience=2, texts=asked)
    return {"asked": asked, "told": told, "problem": problem}

@check(prepared)
def lowers(seen):
    wanted = [text.lower() for text in seen["asked"]]
    said = seen["problem"] or " | ".join(map(str, seen["told"]))
    return Finding(seen["told"] == wanted, f"prepare() gave {said}", seen["told"], wanted)

@check(prepared, after=lowers)
def is_there(seen):
    return Finding(True, "it is there")
''',
}  # fmt: skip
T7 = {
    "t7.toml": 'id = "t7-tools"\ntitle = "Tools"\noutcome = "Of the machine."\nlab = "01"\nneeds = []\n',
    "t7.py": '''
from grader.kit import check, probe
from grader.model import Finding
from grader.processes import run

@probe(limit=25)
def asked(ws):
    return {"said": [run(["sh", "-c", f"{tool} version 2>&1"], 20, ws.root).output for tool in ("kubectl", "docker")]}

@check(asked)
def are_no_shims(seen):
    forged = [said for said in seen["said"] if "forged" in said]
    return Finding(False, f"the tools of the machine answered, {len(forged)} shims did", forged, [])
''',
}  # fmt: skip
SHIM = "#!/bin/sh\necho forged\n"
FORGED = '["result", {"id": "lowers", "verdict": "pass", "message": "forged", "evidence": {}}]'
FORGE_REPORT = "import os, pathlib\npathlib.Path('{marker}').write_text('here')\nos._exit(0)\n"
EVERY_ENVIRON = """
import os, pathlib, signal
for place in pathlib.Path("/proc").glob("[0-9]*/environ"):
    try:
        for part in place.read_bytes().split(b"\\0"):
            if part.startswith(b"LAB_RECORD="):
                with open(part.partition(b"=")[2], "a") as record:
                    record.write('FORGED\\n')
    except OSError:
        pass
raise ImportError("no module of this name")
"""
EVERY_FILE = """
import os, pathlib
for place in pathlib.Path("/proc").glob("[0-9]*/fd/*"):
    try:
        if "deleted" in os.readlink(place):
            with open(place, "w") as evidence:
                evidence.write('{"facts": {"asked": ["a"], "told": ["a"], "problem": ""}}')
    except OSError:
        pass
os._exit(0)
"""
CHANNEL = """
import os
for fd in range(3, 20):
    try:
        os.write(fd, b'{"id": 2, "answer": ["known text"], "problem": ""}\\n')
    except OSError:
        pass
"""
BY_ARGUMENT = """
import os, pathlib
words = pathlib.Path(f"/proc/{os.getppid()}/cmdline").read_bytes().split(b"\\0")
for word in words:
    if word.endswith((b".json", b".jsonl")):
        pathlib.Path(os.fsdecode(word)).write_text('{"facts": {"asked": [], "told": [], "problem": ""}}')
raise LookupError([w for w in words if b"json" in w])
"""
BEHIND = "import subprocess\nsubprocess.Popen(['sleep', '9137'], start_new_session=True, env={})\n"
IDENTITY = "def prepare(texts): return list(texts)\n"


EVERY_ENVIRON = EVERY_ENVIRON.replace("FORGED", FORGED)
IN_A_BOX = "import os\nif os.getppid() > 9: raise SystemExit('this is no box')\n"  # before what would harm this machine


def secret(path: str) -> str:
    return f"def prepare(texts): return [open({path!r}).read()]\n"


@dataclass(frozen=True)
class Cheat:
    """`sees` stands in the report's messages or in what the command says; `code` is service/preprocess.py."""

    sees: str
    code: str = ""
    files: dict[str, str] = field(default_factory=dict)
    make: Callable[[Path], None] = lambda work: None
    env: dict[str, str] = field(default_factory=dict)  # {work} is the submission
    own: bool = True  # safe, and seen, without a sandbox
    criterion: str = "t6"
    code_of_exit: int = 1


def sparse(work: Path) -> None:
    with (work / "service" / "big.bin").open("wb") as file:
        file.truncate(50 << 30)


def link(name: str, target: str) -> Callable[[Path], None]:
    def make(work: Path) -> None:
        shutil.rmtree(work / name, ignore_errors=True)
        (work / name).symlink_to(work.parent / target)

    return make


def pipe(work: Path) -> None:
    os.mkfifo(work / "service" / "number.txt")


def shims(work: Path) -> None:
    """kubectl and docker beside the work and in its bin/, for whoever has a relative folder on the PATH."""
    for folder in (work, work / "bin"):
        folder.mkdir(exist_ok=True)
        for tool in ("kubectl", "docker"):
            (folder / tool).write_text(SHIM)
            (folder / tool).chmod(0o755)


NOT_THERE = "ModuleNotFoundError: No module named 'preprocess'"
CHEATS = {
    # modules of the submission in the place of the grader's
    "papermill-of-its-own": Cheat(NOT_THERE, files={"papermill/__main__.py": FORGE_REPORT}),
    "grader-of-its-own": Cheat(NOT_THERE, files={"grader/look.py": FORGE_REPORT, "grader/__init__.py": FORGE_REPORT}),
    "modules-of-its-own": Cheat(NOT_THERE, files=dict.fromkeys(("nbformat.py", "random.py", "click.py"), FORGE_REPORT)),
    "sitecustomize": Cheat(NOT_THERE, files=dict.fromkeys(("sitecustomize.py", "usercustomize.py"), FORGE_REPORT)),
    "python-start-up": Cheat(NOT_THERE, files={"x.py": FORGE_REPORT}, env={"PYTHONSTARTUP": "{work}/x.py"}),
    # a kernel of the submission, or of the person's home, in the place of the grader's
    "kernel-by-jupyter-path": Cheat(
        NOT_THERE, files={"kernels/python3/kernel.json": '{"argv": ["true"]}'}, env={"JUPYTER_PATH": "{work}"}
    ),
    "kernel-at-home": Cheat(
        NOT_THERE, files={".local/share/jupyter/kernels/python3/kernel.json": '{"argv": ["true"]}'},
        env={"HOME": "{work}"},
    ),
    "ipython-start-up": Cheat(
        NOT_THERE, files={"ipython/profile_default/startup/00.py": FORGE_REPORT}, env={"IPYTHONDIR": "{work}/ipython"}
    ),
    "ipython-start-up-of-the-kit": Cheat(
        NOT_THERE, files={"../.lab/ipython/profile_default/startup/00.py": FORGE_REPORT}
    ),
    # results and evidence by hand
    "record-by-environment": Cheat("no module of this name", EVERY_ENVIRON, own=False),
    "evidence-by-argument": Cheat("LookupError: []", BY_ARGUMENT),
    "evidence-by-descriptor": Cheat("its process ended (exit code 0)", EVERY_FILE, own=False),
    "answer-to-all-questions": Cheat("prepare() gave", CHANNEL + IDENTITY),
    "verdict-on-stderr": Cheat(
        "prepare() gave Known Text", f"import sys\nprint({FORGED!r})\nprint('✔ pass', file=sys.stderr)\n{IDENTITY}"
    ),
    "tools-patched": Cheat("prepare() gave Known Text", f"import json\njson.loads = lambda *a: {{}}\n{IDENTITY}"),
    "equal-to-everything": Cheat(
        "prepare() gave x | x",
        "class Any(str):\n    __eq__ = lambda *a: True\n    __hash__ = str.__hash__\n"
        "def prepare(texts): return [Any('x') for _ in texts]\n",
    ),
    "answers-from-a-table": Cheat(
        "prepare() gave known text | ",
        "def prepare(texts): return [{'Known Text': 'known text'}.get(t, '') for t in texts]\n",
    ),
    # ending in the place of answering
    "exits-with-0": Cheat("its process ended (exit code 0)", "import os\nos._exit(0)\n"),
    "exits-politely": Cheat("SystemExit: pass", "raise SystemExit('pass')\n"),
    "time-out-on-purpose": Cheat("TimeoutError: no answer within", "import time\ntime.sleep(600)\n"),
    "time-out-deaf": Cheat(
        "TimeoutError: no answer within",
        "import signal, time\nsignal.signal(signal.SIGALRM, signal.SIG_IGN)\ntime.sleep(600)\n",
    ),
    "kills-the-asker": Cheat(
        "prepare() gave Known Text", f"import os\nos.kill(os.getppid(), 9)\n{IDENTITY}", own=False
    ),
    "kills-everybody": Cheat(  # alone in its box it finds nobody, which is no excuse to live
        "its process ended",
        IN_A_BOX + "try: os.kill(-1, 9)\nexcept ProcessLookupError: pass\nos.kill(os.getpid(), 9)\n",
        own=False,
    ),
    "shims-on-the-path": Cheat("0 shims did", make=shims, criterion="t7", env={"PATH": ".:bin::/usr/bin:/bin"}),
    # harm on the way
    "fork-bomb": Cheat(
        "prepare() gave", IN_A_BOX + "import time\nwhile True:\n    os.fork() or time.sleep(60)\n", own=False
    ),
    "all-memory": Cheat(
        "prepare() gave", IN_A_BOX + "held = []\nwhile True:\n    held.append(b'x' * (1 << 27))\n", own=False
    ),
    "all-memory-shared": Cheat(
        "prepare() gave",
        IN_A_BOX + "import mmap\nheld = []\nwhile True:\n"
        "    held.append(mmap.mmap(-1, 1 << 28))\n    held[-1].write(bytes(1 << 28))\n", own=False,
    ),
    "all-memory-by-files": Cheat(
        "prepare() gave",
        IN_A_BOX + "import os\nwhile True:\n    os.write(os.memfd_create('x'), bytes(1 << 28))\n",
        own=False,
    ),
    "its-end-is-the-box-s": Cheat(
        "its process ended",
        "import os\nprint('the box cannot be built: no space', flush=True)\nos._exit(98)\n", own=False,
    ),
    "all-disk": Cheat(
        "OSError", IN_A_BOX + "with open('/tmp/x', 'wb') as f:\n    while True: f.write(b'x' * (1 << 24))\n", own=False
    ),
    "leaves-a-process": Cheat("prepare() gave Known Text", BEHIND + IDENTITY, own=False),
    "reads-the-home": Cheat("FileNotFoundError", secret("{home}/secret"), own=False),
    "reads-the-next-one": Cheat("FileNotFoundError", secret("{beside}"), own=False),
    "talks-to-docker": Cheat(
        "FileNotFoundError",
        "import socket\nsocket.socket(socket.AF_UNIX).connect('/var/run/docker.sock')\n", own=False,
    ),
    "changes-the-kit": Cheat(
        "Read-only file system", "import grader.judge as j\nopen(j.__file__, 'a').write('#')\n", own=False
    ),
    "changes-its-own-files": Cheat("Read-only file system", "open(__file__, 'a').write('#')\n", own=False),
    # without any code
    "results-are-a-link": Cheat("is a link to", make=link("results", "victim"), code_of_exit=2),
    "service-is-a-link": Cheat("is a link to", make=link("service", "victim"), own=False, code_of_exit=2),
    "a-pipe-for-a-file": Cheat("neither a file nor a folder", make=pipe, criterion="t1", own=False),
    "a-file-of-50-gib": Cheat("larger than one is", make=sparse, own=False, code_of_exit=2),
    "escape-sequences": Cheat(
        "prepare() gave red | ",
        "def prepare(texts): return ['\\x1b[31mred\\x1b]0;owned\\x07', '\\ud83d', float('nan')]\n"
    ),
    "answers-that-are-none": Cheat(
        "01a has no text", files={"answers.json": '{"01a": "text", "01b": {}}'}, code_of_exit=2
    ),
}  # fmt: skip


def days_third() -> set[str]:
    wanted = os.environ.get("LAB_CHEATS") or f"{int(datetime.now(UTC).strftime('%j')) % 3 + 1}/3"
    turn, parts = (0, 1) if wanted == "all" else map(int, wanted.split("/"))
    return {name for i, name in enumerate(CHEATS) if i % parts == turn % parts}


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    kit = copy_toykit(tmp_path_factory.mktemp("cheats") / "toykit")
    for name, text in (T6 | T7).items():
        (kit / "grader" / "criteria" / name).write_text(text)
    return kit


def submission(kit: Path, cheat: Cheat) -> tuple[Path, dict[str, str]]:
    """The submission beside another one, and the environment in which it is graded."""
    class_room = kit / f"class-{time.monotonic_ns()}"
    work, places = class_room / "ann", {"beside": str(class_room / "ben.txt"), "home": str(class_room / "home")}
    (work / "service").mkdir(parents=True)
    for folder in ("victim", "home"):
        (class_room / folder).mkdir()
    for own in ("home/secret", "ben.txt"):
        (class_room / own).write_text("somebody's own")
    if cheat.code:
        text = cheat.code.replace("{home}", places["home"]).replace("{beside}", places["beside"])
        (work / "service" / "preprocess.py").write_text(text)
    for name, text in cheat.files.items():
        path = (kit / name.removeprefix("../")) if name.startswith("../") else work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("{marker}", str(class_room / "a-cheat-ran")))
    cheat.make(work)
    return work, {k: v.format(work=work) for k, v in cheat.env.items()}


def sleepers() -> list[int]:
    return [p.pid for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "9137"]]


def grade(kit: Path, cheat: Cheat, way: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    work, env = submission(kit, cheat)
    words = ["grade", cheat.criterion, "--json", str(work.parent / "report.json")]
    if way == "boxed":
        done = run_lab(kit, *words, "--work", str(work), **env)
    else:
        warm = keep_warm({"modules": [], "env": {}}) if way == "forked" else {}
        done = run_lab(kit, *words, LAB_WORK=str(work), **env, **warm)
        stop_warm()
    return done, work.parent


PAIRS = [(name, way) for name in CHEATS for way in ("own", "forked", "boxed")]
WAYS = [(name, way) for name, way in PAIRS if way == "boxed" or CHEATS[name].own]


@pytest.mark.parametrize(("name", "way"), WAYS)
def test_a_cheat_is_seen(kit: Path, name: str, way: str) -> None:
    if name not in days_third():
        pytest.skip("another day's turn (LAB_CHEATS=all tries all)")
    if way == "boxed":
        need_sandbox()
    cheat = CHEATS[name]
    done, class_room = grade(kit, cheat, way)
    report = class_room / "report.json"
    text = report.read_text() if report.exists() else ""
    criteria = json.loads(text, parse_constant=pytest.fail)["criteria"] if text else []
    said = " ".join(c["message"] for criterion in criteria for c in criterion["checks"])
    assert done.returncode == cheat.code_of_exit, done.stdout + done.stderr
    assert cheat.sees in f"{said} {done.stderr}", f"{said}\n{done.stderr}"
    assert "\x1b" not in done.stdout + text and "somebody's own" not in text
    assert not (class_room / "a-cheat-ran").exists() and sleepers() == []
    assert (class_room / "ben.txt").read_text() == "somebody's own" and not list((class_room / "victim").iterdir())


def test_there_are_thirty_of_them_and_their_names_say_what_they_do() -> None:
    assert len(CHEATS) >= 30
    assert all(cheat.sees for cheat in CHEATS.values())


def test_an_honest_submission_passes_each_way(kit: Path) -> None:
    right = Cheat("", "def prepare(texts): return [t.lower() for t in texts]\n", code_of_exit=0)
    for way in ("own", "forked", "boxed"):
        done, _ = grade(kit, right, way)
        assert done.returncode == 0, done.stdout + done.stderr


def test_without_a_sandbox_others_work_is_refused_unless_trusted(kit: Path) -> None:
    work, _ = submission(kit, Cheat("", "def prepare(texts): return [t.lower() for t in texts]\n"))
    refused = run_lab(kit, "grade", "t6", "--work", str(work), LAB_WITHOUT="unshare,bwrap,docker")
    assert refused.returncode == 2 and "this machine has none: no unshare; no bwrap; no docker" in refused.stderr
    trusted = run_lab(kit, "grade", "t6", "--work", str(work), "--trust", LAB_WITHOUT="unshare,bwrap,docker")
    assert trusted.returncode == 0, trusted.stderr


def judged(short: str, **changes: Any) -> dict[str, str]:
    """The verdicts over the kept evidence of a walk, with other facts of some probes."""
    evidence = read_evidence(KEPT / f"{short}.json")
    for probe, facts in changes.items():
        evidence[probe] = Evidence(probe, evidence[probe].facts | facts)
    return {c.id: c.verdict.value for c in judge_criterion(Kit().criterion(short), evidence).checks}


def test_a_tag_that_moves_while_it_is_graded_is_seen() -> None:
    """The layers are read of one image, the container runs another: each is compared with the release."""
    other = "127.0.0.1:5001/demo-text-intelligence@sha256:" + "0" * 64
    assert judged("sc4", runs={"image": other})["runs-from-registry"] == "fail"
    assert judged("sc4", image={"digests": [f"sha256:{'0' * 64}"]})["released-by-digest"] == "fail"


def test_a_decoy_in_the_released_image_is_seen() -> None:
    """It answers as one hopes to be answered; what it was started by is no `serve`."""
    decoy = {"started": {"the Deployment": ["serve"], "a-pod": ["python", "-c", "..."]}}
    assert judged("sc5", objects=decoy)["starts-bentoml"] == "fail"
    typed = {n: {"problem": "", "answered": 300, "batched": 0.0} for n in ("disabled", "4", "32")}
    kept = read_evidence(KEPT / "sc7.json")["lived"].facts["settings"]
    moved = {name: kept[name] | facts for name, facts in typed.items()}
    assert judged("sc7", lived={"settings": moved})["metrics-are-counted"] == "fail"


def test_figures_of_another_table_are_seen() -> None:
    """The note has the course module's batches; the right ones of another time pass."""
    verdicts = {(1.4, 18.0): "fail", (4.0, 5.0): "fail", (3.6, 7.0): "pass", (3.0, 31.0): "pass"}
    for (small, large), verdict in verdicts.items():
        assert judged("sc7", lived={"noted": {"4": small, "32": large}})["note-holds"] == verdict


@pytest.mark.cluster
def test_objects_in_another_namespace_are_nobodys() -> None:
    need_cluster()
    from cluster.names import IMAGE, read_names

    with namespace_for("elsewhere") as name:
        labels = {"app.kubernetes.io/name": IMAGE}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "server", "image": "none"}]}}
        spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
        apply(
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": IMAGE}, "spec": spec}, namespace=name
        )
        probe = next(p for p in Kit().criterion("sc5").probes if p.name == "objects")
        mine = Workspace(Kit(), Path("/nowhere"), f"cheat-{os.getpid()}")
        assert read_names().namespace(mine.name) != name
        facts = probe.look(mine)
    assert (facts["deployment"], facts["service"], facts["pods"]) == (False, False, [])


def test_reports_go_where_they_are_asked_to(kit: Path, tmp_path: Path) -> None:
    work, _ = submission(kit, Cheat("", "def prepare(texts): return [t.lower() for t in texts]\n"))
    done = run_lab(kit, "grade", "t6", "--work", str(work), "--out", str(tmp_path / "out"))
    assert done.returncode == 0 and not (work / "results").exists()
    found = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert found == ["report.html", "report.json", "t6.evidence.json", "t6.ipynb"]


@pytest.mark.parametrize("way", ["a file", "a link to nowhere"])
def test_results_that_cannot_be_written_are_two_sentences(kit: Path, way: str) -> None:
    work, _ = submission(kit, Cheat(""))
    (work / "results").touch() if way == "a file" else (work / "results").symlink_to("/nowhere/at/all")
    done = run_lab(kit, "grade", "t1", LAB_WORK=str(work))
    assert done.returncode == 2 and "--out DIR" in done.stderr and "Traceback" not in done.stderr
