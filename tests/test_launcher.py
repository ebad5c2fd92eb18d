"""`lab`, the launcher: found by a link or with CDPATH, its lock, and an environment that is another folder's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

STUB = '#!/bin/sh\ncase "$*" in *version_info*) exit 0 ;; esac\necho "no venv today" >&2\nexit 1\n'


def lab(*words: str, at: Path, cwd: Path | None = None, **env: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(at), *words], capture_output=True, text=True, timeout=30, cwd=cwd, env={**os.environ, **env}
    )


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A checkout without an environment, and a Python that makes none: how far it gets is what is asked."""
    kit = tmp_path / "my kït"
    kit.mkdir()
    for name in ("lab", "requirements.lock"):
        shutil.copy(ROOT / name, kit / name)
    (tmp_path / "python").write_text(STUB)
    (tmp_path / "python").chmod(0o755)
    return kit


def test_by_a_link_to_a_link_and_with_cdpath(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "lab").symlink_to(ROOT / "lab")
    (tmp_path / "lab").symlink_to("bin/lab")
    assert lab("--version", at=tmp_path / "lab").returncode in (0, 64)
    relative = Path(ROOT.name) / "lab"
    done = lab("--help", at=relative, cwd=ROOT.parent, CDPATH=str(ROOT.parent))
    assert done.returncode == 0 and "Exit code" in done.stdout


SUM = "{ cat requirements.lock && grep ^packages pyproject.toml; } | cksum"


def test_an_environment_of_another_folder_is_not_used(bare: Path, tmp_path: Path) -> None:
    """A copied checkout would run the original's code; nor is a Python used that has gone."""
    packages = bare / ".venv" / "lib" / "python3.11" / "site-packages"
    packages.mkdir(parents=True)
    (bare / ".venv" / "bin").mkdir()
    shutil.copy("/bin/echo", bare / ".venv" / "bin" / "python")
    sum_ = subprocess.run(SUM, shell=True, cwd=bare, capture_output=True, text=True).stdout
    (bare / ".venv" / ".lock-sum").write_text(sum_)
    finder = packages / "__editable___serving_lab_0_1_0_finder.py"
    finder.write_text(f"MAPPING = {{'grader': {f'{bare}/grader'!r}}}")
    assert "grader.cli hint" in lab("hint", at=bare / "lab", PYTHON=str(tmp_path / "python")).stdout
    finder.write_text(f"MAPPING = {{'grader': {f'/elsewhere{bare}/grader'!r}}}")
    done = lab("hint", at=bare / "lab", PYTHON=str(tmp_path / "python"))
    assert done.returncode == 2 and "an empty environment failed" in done.stderr


def test_nothing_is_installed_by_a_half_made_environment(bare: Path, tmp_path: Path) -> None:
    """Ended in the middle of `venv --clear`, it runs as the Python that it was made of, whose packages are not ours."""
    (bare / ".venv" / "bin").mkdir(parents=True)
    (bare / ".venv" / "bin" / "python").symlink_to(sys.base_prefix + "/bin/python3")
    done = lab("hint", at=bare / "lab", PYTHON=str(tmp_path / "python"))
    assert done.returncode == 2 and "an empty environment failed" in done.stderr and "uv" not in done.stderr


def test_a_lock_that_cannot_be_made_is_not_waited_for(bare: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ln").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "bin" / "ln").chmod(0o755)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    done = lab("hint", at=bare / "lab", PYTHON=str(tmp_path / "python"), PATH=path)
    assert done.returncode == 2 and f"No lock can be made in {bare}/.lab" in done.stderr


def test_a_lock_whose_number_is_another_programs_is_taken_over(bare: Path, tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "30"]) as other:
        (bare / ".lab").mkdir()
        (bare / ".lab" / "install.lock").symlink_to(str(other.pid))
        done = lab("hint", at=bare / "lab", PYTHON=str(tmp_path / "python"))
        other.kill()
    assert "waiting" not in done.stderr and "an empty environment failed" in done.stderr


@pytest.mark.parametrize("name", ["PIP_TARGET", "PYTHONPATH", "PYTHONHOME", "UV_SYSTEM_PYTHON"])
def test_an_installer_has_none_of_the_users_settings(bare: Path, tmp_path: Path, name: str) -> None:
    mine: dict[str, Any] = {name: "/mine"}
    (tmp_path / "python").write_text(STUB.replace('echo "no', f'echo "{name}=${name} $PIP_USER $UV_NO_CONFIG no'))
    done = lab("hint", at=bare / "lab", PYTHON=str(tmp_path / "python"), PIP_USER="1", **mine)
    assert f"{name}= 0 1 no venv" in done.stderr


def test_a_checkout_by_git_for_windows_has_lf(tmp_path: Path) -> None:
    """Of the files that Git would turn, those are asked that a shell reads."""
    words = ["git", "check-attr", "eol", "--", "lab", ".ci/run", "requirements.lock", "labs/00_start_here.ipynb"]
    said = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said.count("eol: lf") == 4
