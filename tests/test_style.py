"""The notebooks fit their sources, and all that is written its style: ruff, its format, mypy, codespell."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import ROOT


@pytest.mark.parametrize(
    "words",
    ["grader.cli build --check", "ruff check .", "ruff format --check .", "mypy", "codespell_lib"],
)
def test_style(words: str) -> None:
    done = subprocess.run([sys.executable, "-m", *words.split()], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
