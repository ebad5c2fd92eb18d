"""The command line: every wrong call gets 64 and two sentences, and nothing of the user's own is touched."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import ROOT, run_lab

from grader import cli
from grader.kit import Kit
from grader.processes import wait_until
from labs.helpers.teaching.cli import main as teaching


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["grade", "t9"], "There is no criterion 't9'"),
        (["dance"], "No such command"),
        (["grade", "--work", "absent"], "There is no workspace at"),
        (["grade", "--work", "requirements.lock"], "is a file, not a workspace"),
        (["walk", "--work", "requirements.lock"], "is a file"),
        (["grade", "t1", "--json", "absent/report.json"], "cannot be written"),
        (["walk", "--html", "service"], "cannot be written"),
        (["diff", "77"], "There is no lab '77'"),
        (["reset", "01"], "nobody to ask"),
        (["start-at", "01", "--yes"], "Nothing comes before lab 01"),
        (["grade", "--loud"], "No such option"),
        (["mutants", "t9"], "There is no criterion 't9'"),
        (["mutants", "--loud"], "No such option"),
    ],
)
def test_a_wrong_call_is_64_and_says_what_to_do(toykit: Path, words: list[str], said: str) -> None:
    done = run_lab(toykit, *words)
    assert done.returncode == 64, done.stderr
    assert said in done.stderr and "Traceback" not in done.stderr


def test_where_there_is_nothing_to_put_away_nobody_is_asked(toykit: Path, tmp_path: Path) -> None:
    fresh = run_lab(toykit, "start-at", "02", LAB_WORK=str(tmp_path / "work"))
    assert "nobody to ask" not in fresh.stderr and "no checkpoint after lab 01" in fresh.stderr
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    assert "nobody to ask" in run_lab(toykit, "start-at", "02", LAB_WORK=str(tmp_path / "mine")).stderr


def test_help_names_every_command_with_examples() -> None:
    done = run_lab(ROOT, "--help")
    commands = [
        "walk",
        "test",
        "start",
        "status",
        "grade",
        "hint",
        "diff",
        "reset",
        "start-at",
        "report",
        "doctor",
        "build",
        "mutants",
        "claims",
        "numbers",
    ]
    assert all(f"  {c} " in done.stdout for c in commands) and "./lab grade sc1" in done.stdout


@pytest.mark.parametrize("words", ["bench", "bench capacity", "cluster up", "mutants", "class", *cli.TEACHING])
def test_help_of_a_command_names_it_and_needs_no_workspace(words: str, tmp_path: Path) -> None:
    done = run_lab(ROOT, *words.split(), "--help", LAB_WORK=str(tmp_path / "none"))
    assert done.returncode == 0 and done.stdout.startswith(f"Usage: ./lab {words} [OPTIONS]"), done.stdout + done.stderr


def test_help_says_of_a_notebooks_commands_what_they_say_themselves() -> None:
    """Two packages list them, since the engine imports nothing of the other."""
    assert {name: command.help for name, command in teaching.commands.items()} == cli.TEACHING
    assert all(cli.main.commands[name].help == text for name, text in cli.TEACHING.items())


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, grader.cli; print(*{m.split('.')[0] for m in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split()
    assert "grader" in loaded
    assert not {"torch", "papermill", "nbformat", "rich", "bentoml"} & set(loaded)


def test_reading_the_criteria_imports_neither_torch_nor_bentoml() -> None:
    code = "import sys; from grader.kit import Kit; Kit().criteria(); print(*{m.split('.')[0] for m in sys.modules})"
    env = {k: v for k, v in os.environ.items() if k != "LAB_KIT"}
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env).stdout.split()
    assert "grader" in loaded and not {"torch", "bentoml", "sklearn", "sentence_transformers"} & set(loaded)


def test_doctor_says_what_is_missing_and_the_command_that_adds_it(toykit: Path) -> None:
    done = run_lab(toykit, "doctor", LAB_WITHOUT="sh")
    assert "missing  no unicorn: adopt a unicorn" in done.stdout
    assert "missing  no a shell (taken away by LAB_WITHOUT): install a shell" in done.stdout
    assert done.returncode == 0
    names = [n["name"] for n in json.loads(run_lab(toykit, "doctor", "--json", "-").stdout)["needs"]]
    assert names == ["sh", "unicorn"]


def test_a_need_taken_away_makes_not_run_and_strict_makes_3(toykit: Path) -> None:
    done = run_lab(toykit, "grade", "t1", "--strict", "--json", "r.json", LAB_WITHOUT="sh")
    assert done.returncode == 3
    result = json.loads((toykit / "r.json").read_text())["criteria"][0]
    assert result["verdict"] == "not_run" and result["note"].endswith("install a shell")
    assert [c["verdict"] for c in result["checks"]] == ["not_run"] * 3


def test_the_users_own_things_are_untouched(walked: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    home = walked[0].parent / "home"
    assert "1 pass" in walked[1].stdout, "the user's broken IPython start-up file was not run"
    found = {str(p.relative_to(home)) for p in home.rglob("*") if p.is_file() and ".cache" not in p.parts}
    assert found == {"bentoml/models/mine/latest", ".kube/config", ".ipython/profile_default/startup/mine.py"}
    assert (home / "bentoml/models/mine/latest").read_text() == (home / ".kube/config").read_text() == "mine"


def test_a_running_server_of_the_user_survives(toykit: Path) -> None:
    command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "0"]
    server = subprocess.Popen(command, cwd=toykit, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        run_lab(toykit, "grade", "t3")
        assert server.poll() is None
    finally:
        server.kill()
        server.wait()


def test_of_two_walks_at_once_the_second_waits_and_says_so(toykit: Path) -> None:
    env = {**os.environ, "LAB_KIT": str(toykit)}
    command = [sys.executable, "-m", "grader.cli", "walk"]
    first = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    lock = toykit / ".lab" / "walk.lock"
    assert wait_until(lambda: lock.exists() and lock.read_text() != "", 10)
    second = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert second.stderr
    assert f"in use by process {first.pid}" in second.stderr.readline()
    first.send_signal(signal.SIGTERM)
    assert first.wait(20) == 143
    assert wait_until(lambda: str(second.pid) in lock.read_text(), 10), "the second has it now"
    second.send_signal(signal.SIGTERM)
    assert second.wait(20) == 143


def test_the_kit_lists_all_criteria() -> None:
    assert [c.id for c in Kit(ROOT).criteria()] == [
        "sc1-models-saved", "sc2-local-served", "sc3-bento-lean", "sc4-image-pushed",
        "sc5-k8s-served", "sc6-batching-benchmarked", "sc7-metrics-queried", "sc8-shapes", "sc9-choice",
        "sc10-modern", "sc11-release",
    ]  # fmt: skip


def test_start_has_tabs_of_its_own(toykit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_KIT", str(toykit))
    monkeypatch.delenv("LAB_WORK", raising=False)
    monkeypatch.setattr("labs.helpers.teaching.cli.prepare", lambda ws: None)
    monkeypatch.chdir(toykit)
    words: list[str] = []
    monkeypatch.setattr(os, "execve", lambda path, command, environ: words.extend(command))
    done = CliRunner().invoke(teaching, ["start"])
    assert done.exit_code == 0, done.output
    assert f"--LabApp.workspaces_dir={toykit / 'work' / '.jupyterlab'}" in words, "not those of the user's other work"
