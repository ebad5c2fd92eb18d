"""The toy kit, copied for each use, and `lab(...)`, which runs the command line against it in a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from grader.errors import LabError
from grader.sandbox import find_way

FIRST = "test_planted.py"
ROOT = Path(__file__).parent.parent
Lab = Callable[..., subprocess.CompletedProcess[str]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--incidents", default="0", help="how many incidents to prove, in turn by date; all; or names")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The incidents of today's turn: as many as asked for, the next ones tomorrow."""
    if "incident_name" in metafunc.fixturenames:
        from test_incidents_live import KNOWN, was_walked

        names, asked = list(KNOWN), metafunc.config.getoption("--incidents")
        if asked.isdigit():
            names = [name for name in names if was_walked(name)]
            first = date.today().toordinal() * int(asked) % len(names)
            names = [*names, *names][first : first + int(asked)]
        elif asked != "all":
            names = asked.split(",")
        metafunc.parametrize("incident_name", names)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The engine against itself before all else, then what is quick."""
    items[:] = [i for i in items if "[NOTSET]" not in i.name]  # no incidents asked for
    items.sort(key=lambda item: (item.path.name != FIRST, item.get_closest_marker("slow") is not None))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed and FIRST in report.nodeid:
        pytest.exit(f"{report.nodeid} failed: with a planted failure uncaught, no other result means anything", 1)


def run_lab(kit: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """`lab WORDS` against that kit, with its work/ as the learner's workspace."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("LAB_", "SERVING_LAB_"))}
    full = {**clean, "COLUMNS": "200", "LAB_KIT": str(kit), **env}
    command = [sys.executable, "-m", "grader.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, env=full, cwd=kit, timeout=300)


def need_sandbox() -> None:
    """Skips where no sandbox can be made; with LAB_STRICT that fails, but for macOS, which has none to offer."""
    try:
        find_way()
    except LabError as none_here:
        strict = os.environ.get("LAB_STRICT") and sys.platform == "linux"
        (pytest.fail if strict else pytest.skip)(f"not run: {none_here}")


def copy_toykit(target: Path) -> Path:
    shutil.copytree(ROOT / "tests" / "toykit", target, ignore=shutil.ignore_patterns(".lab", "work", "__pycache__"))
    return target


@pytest.fixture
def toykit(tmp_path: Path) -> Path:
    """A fresh toy kit with an empty learner's workspace."""
    kit = copy_toykit(tmp_path / "toykit")
    (kit / "work" / "service").mkdir(parents=True)
    return kit


@pytest.fixture(scope="session")
def walked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A toy kit after one walk, and what the walk said. Shared: do not change it. The walk's HOME is kit/../home."""
    kit = copy_toykit(tmp_path_factory.mktemp("walked") / "toykit")
    home = kit.parent / "home"
    for name in ("bentoml/models/mine/latest", ".kube/config", ".ipython/profile_default/startup/mine.py"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("1 / 0" if name.endswith("py") else "mine")
    env = {"HOME": str(home), "KUBECONFIG": str(home / ".kube/config")}
    return kit, run_lab(kit, "walk", "--json", "report.json", "--html", "report.html", "--junit", "report.xml", **env)
