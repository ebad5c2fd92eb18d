"""kind and kubectl: from the PATH if they will do, else from the kit's own folder .lab/bin, else fetched into it.

`python -m cluster.tools kind` says in one sentence whether one is there, and fetches nothing. tools.toml has versions
and hashes; LAB_TOOLS_URL names a mirror (its https address stands for scheme and host of the upstream one).
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cluster.fetch import NotFetched, fetch, is_safe, shown
from cluster.machine import version
from cluster.names import state
from grader.errors import LabError, UnknownName, WrongCall
from grader.workspace import locked

TOOLS = Path(__file__).with_name("tools.toml")
ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True)
class Tool:
    """An entry of tools.toml."""

    name: str
    version: str
    oldest: list[int]
    newest: list[int]
    ask: list[str]
    page: str
    url: str
    sha256: dict[str, str]

    def check(self, place: Path) -> tuple[bool, str]:
        (a, b), (c, d) = self.oldest, self.newest
        return version(str(place), (a, b), (c, d), *self.ask)

    def address(self, system: str, arch: str) -> str:
        return self.url.format(version=self.version, os=system, arch=arch)


def read_tool(name: str) -> Tool:
    entries = tomllib.loads(TOOLS.read_text())
    if name not in entries:
        raise UnknownName("tool", name, sorted(entries))
    return Tool(name, **entries[name])


def folder() -> Path:
    return state() / "bin"


def path_with_tools() -> str:
    """The PATH, with the kit's own tools first if there are any."""
    own = [str(folder())] if folder().is_dir() else []
    return os.pathsep.join([*own, *filter(None, [os.environ.get("PATH")])])


def look(name: str) -> tuple[Path | None, str]:
    """Where the tool is, if it is and will do, and one sentence about it."""
    tool, said = read_tool(name), []
    for place in dict.fromkeys([Path(shutil.which(name) or folder() / name).absolute(), folder() / name]):
        if place.is_file():
            good, sentence = tool.check(place)
            if good:
                return place, sentence
            said.append(sentence)
    return None, "; ".join(said) or f"no {name} on the PATH"


def say_on_stderr(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def find(name: str, install: bool = True, say: Callable[[str], None] = say_on_stderr) -> Path:
    """The tool's path; fetches it (once, whoever asks at the same time) unless `install` is false."""
    place, said = look(name)
    if place:
        return place
    if not install:
        raise LabError(f"{said}.", f"`./lab cluster up` fetches it, or install it yourself: {read_tool(name).page}")
    with locked(state() / "tools.lock", "the folder of the kit's tools", say):
        place, said = look(name)  # whoever held the lock may have fetched it
        return place or _install(read_tool(name), said, say)


def _install(tool: Tool, said: str, say: Callable[[str], None]) -> Path:
    system, arch = platform.system().lower(), ARCHITECTURES.get(platform.machine().lower(), platform.machine())
    target, sha256 = folder() / tool.name, tool.sha256.get(f"{system}-{arch}")
    wanted = f"{tool.name} {tool.oldest[0]}.{tool.oldest[1]} or newer"
    if sha256 is None:
        known = ", ".join(tool.sha256)
        raise LabError(
            f"{said}, and the kit has {tool.name} only for {known}, not for {system}-{arch}.",
            f"Install {wanted} ({tool.page}), on the PATH or as {target}.",
        )
    official = tool.address(system, arch)
    url = _mirrored(official)
    say(f"{said}: fetching {tool.name} {tool.version} from {shown(url)}")
    try:
        fetch(url, sha256, target, 0o755)
    except NotFetched as wrong:
        raise LabError(f"{said}, and {wrong.problem}.", _by_hand(tool, official, sha256, target)) from wrong
    good, said = tool.check(target)
    if not good:  # a folder from which nothing may be run, say
        raise LabError(f"{target} is the right file, but: {said}.", f"Install {wanted} on the PATH: {tool.page}")
    return target


def _mirrored(url: str) -> str:
    base = os.environ.get("LAB_TOOLS_URL", "").strip().rstrip("/")
    if base and not is_safe(base):
        raise WrongCall(
            f"LAB_TOOLS_URL is {shown(base)!r}, which is no https address.",
            "Set it to https://MIRROR (http only for 127.0.0.1 and localhost), or leave it out.",
        )
    return base + urlsplit(url).path if base else url


def _by_hand(tool: Tool, url: str, sha256: str, target: Path) -> str:
    name, here = url.rpartition("/")[2], shlex.quote(str(target))
    return (
        f"Nothing was kept. Name a mirror (LAB_TOOLS_URL=https://MIRROR), or fetch {url} on another machine,\n"
        f"  see that its sha256 is {sha256}, and put it in place:\n"
        f"  mkdir -p {shlex.quote(str(target.parent))} && install -m 755 {name} {here}"
    )


if __name__ == "__main__":
    found, sentence = look(sys.argv[1])
    print(sentence)
    sys.exit(0 if found else 1)
