"""Exact versions for an image: those that the pickles need, and what a CUDA torch weighs."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grader.errors import Refused
from grader.kit import Kit
from grader.world.packages import CUDA, canonical, closure, follow_imports, packages_of, pickled_modules, read_pins
from labs.helpers.charts.canvas import BLUE, GREY, ORANGE, Picture, canvas

SECONDS = 20  # that the index may take: behind a wall no answer ever comes


def write_pins(path: str, roots: Any) -> str:
    """Writes one exact line for each package that the roots need, with the lock's versions; says how many."""
    if roots is ...:
        raise Refused("The list of packages still has a TODO.", "Put the names instead of the dots, as a list.")
    lines = pins(roots)
    Path(path).write_text("\n".join(lines) + "\n")
    return f"wrote {path}, {len(lines)} packages"


def who_asks(service: str | Path, store: str | Path) -> str:
    """The packages that serving imports, and who imports them: the service's code, or a model's pickle."""
    asked = {"the service's code": follow_imports(Path(service), "service").outside}
    for name in sorted(p.name for p in (Path(store) / "models").iterdir()):
        folder = Path(store) / "models" / name
        asked[f"{name}'s pickle"] = pickled_modules(folder / (folder / "latest").read_text() / "saved_model.pkl")
    return "\n".join(f"{who:<26}{', '.join(packages_of(modules).values())}" for who, modules in asked.items())


def pins(roots: Iterable[str]) -> list[str]:
    """`name==version` for each of the packages and all that they need on Linux, as the kit's lock file has them."""
    text = (Kit().root / "requirements.lock").read_text()
    torch = next(line for line in text.splitlines() if line.startswith("# torch=="))
    versions = read_pins(text).exact | {"torch": torch.removeprefix("# torch==") + "+cpu"}
    if unknown := [root for root in roots if canonical(root) not in versions]:
        problem = f"No package of requirements.lock is called {' or '.join(unknown)}."
        raise Refused(problem, "Name it as `pip install` does, without a version; a module may be called otherwise.")
    return [f"{name}=={versions[name]}" for name in sorted(closure(roots)) if name in versions]


@dataclass(frozen=True)
class Wheel:
    name: str
    version: str
    size: int

    @property
    def cuda(self) -> bool:
        return CUDA.fullmatch(self.name) is not None


def resolve(requirements: Iterable[str]) -> tuple[list[Wheel], str]:
    """What an image for Linux would install for these lines, with each wheel's size as the index tells it; nothing is
    downloaded. Without an answer: no wheels, and the reason."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "in.txt").write_text("\n".join(requirements) + "\n")
        command = [
            str(Path(sys.executable).with_name("uv")),
            "pip",
            "compile",
            "--quiet",
            "in.txt",
            "-o",
            "pylock.toml",
        ]
        command += ["--format", "pylock.toml", "--python-platform", "x86_64-manylinux_2_36"]
        command += ["--python-version", ".".join(platform.python_version_tuple()[:2])]
        environ = {**os.environ, "UV_HTTP_TIMEOUT": "8", "UV_HTTP_RETRIES": "0"}
        try:
            done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            return [], f"the package index gave no answer within {SECONDS} s"
        if done.returncode:
            return [], "the package index was not reachable"
        return wheels(tomllib.loads((Path(folder) / "pylock.toml").read_text())), ""


def wheels(lock: dict[str, list[dict[str, object]]]) -> list[Wheel]:
    """The wheel that Linux on x86_64 would take of each package, or the source archive where there is no wheel."""
    found = []
    for package in lock["packages"]:
        files = [w for w in package.get("wheels", []) if _fits(str(w["url"]))]  # type: ignore[attr-defined]
        sizes = [int(w.get("size", 0)) for w in files] or [int(package.get("sdist", {}).get("size", 0))]  # type: ignore[attr-defined]
        found.append(Wheel(str(package["name"]), str(package.get("version", "")), max(sizes)))
    return found


def _fits(url: str) -> bool:
    name = url.rsplit("/", 1)[-1]
    here = f"cp{sys.version_info.major}{sys.version_info.minor}"
    return (
        ("x86_64" in name or "-any." in name)
        and "musllinux" not in name
        and "macosx" not in name
        and (here in name or "-py3-" in name or "-py2.py3-" in name or "abi3" in name)
    )


def weight_finding(found: list[Wheel], problem: str) -> str:
    if problem:
        return f"Not measured here: {problem}."
    cuda, torch = [w for w in found if w.cuda], next((w for w in found if w.name == "torch"), None)
    total, extra = sum(w.size for w in found), sum(w.size for w in cuda)
    told = (
        f"{len(found)} packages, {total / 1e9:.2f} GB to download. {len(cuda)} of them serve CUDA: {extra / 1e9:.2f} GB"
    )
    return told + (f", and torch {torch.version} itself is {torch.size / 1e6:.0f} MB." if torch else ".")


def draw_weight(found: list[Wheel], problem: str, most: int = 8) -> Picture:
    """The heaviest packages of a lock; CUDA's hatched."""
    heavy = sorted(found, key=lambda w: -w.size)[:most]
    figure, axes = canvas("What would the newest torch put into the image?", 8, 0.9 + 0.4 * max(len(heavy), 1))
    for i, wheel in enumerate(heavy):
        colour = ORANGE if wheel.cuda else BLUE
        axes.barh(
            i, wheel.size / 1e6, color="white" if wheel.cuda else colour, edgecolor=colour, hatch="///" * wheel.cuda
        )
        axes.text(
            wheel.size / 1e6, i, f"  {wheel.size / 1e6:.0f} MB{', for CUDA' * wheel.cuda}", va="center", fontsize=9
        )
    axes.set_yticks(range(len(heavy)), [w.name for w in heavy], fontsize=9)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.3 * max([w.size / 1e6 for w in heavy], default=1))
    axes.set_xlabel("size of the wheel in MB", color=GREY)
    if not heavy:
        axes.text(0.5, 0, problem, ha="center", va="center", color=GREY)
    return Picture(figure, weight_finding(found, problem))
