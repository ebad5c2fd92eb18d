"""What was installed is what the lock file names, and nothing of CUDA or of the kit's own service is importable."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from conftest import ROOT

LOCK = (ROOT / "requirements.lock").read_text()
PINS = set(re.findall(r"^([\w.-]+)==(\S+)", LOCK, re.M))  # a name may stand twice, for two versions of Python
NAMES = {name for name, _ in PINS}


def test_the_environment_is_the_lock_files() -> None:
    installed = {re.sub(r"[._]", "-", d.name.lower()): d.version for d in metadata.distributions()}
    wrong = {n: v for n, v in installed.items() if n in NAMES and (n, v) not in PINS}
    assert not wrong
    assert not set(installed) - NAMES - {"torch", "pip", "setuptools", "serving-lab"}


def test_torch_is_a_cpu_build_without_cuda_packages() -> None:
    pinned = re.search(r"^# torch==(\S+)", LOCK, re.M)
    assert pinned and metadata.version("torch").split("+")[0] == pinned[1]
    names = {d.name.lower() for d in metadata.distributions()}
    # nvidia-ml-py only asks a driver about its devices; BentoML needs it
    assert not {n for n in names if n.startswith(("nvidia-", "cuda-", "triton"))} - {"nvidia-ml-py"}


def test_no_package_index_stands_in_a_tracked_file() -> None:
    allowed = ("download.pytorch.org", "docs.", "github.com", "127.0.0.1")
    for name in ("requirements.lock", "environment.yml", "pyproject.toml", "lab"):
        for host in re.findall(r"https?://([^/\s\"']+)", (ROOT / name).read_text()):
            assert host.startswith(allowed), (name, host)


def test_environment_yml_is_of_the_same_lock() -> None:
    text = (ROOT / "environment.yml").read_text()
    assert set(re.findall(r'- "([\w.-]+)==([^ ";]+)', text)) == PINS


def test_the_kits_own_service_is_not_importable(tmp_path: Path) -> None:
    code = "import grader, cluster, labs.helpers\nprint('importable')\nimport service"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.strip() == "importable" and "No module named 'service'" in done.stderr
