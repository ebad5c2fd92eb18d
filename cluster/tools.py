"""kind, kubectl, prometheus and promtool: from the PATH if they will do, else from .lab/bin, else fetched into it.

`python -m cluster.tools kind` says in one sentence whether one is there, and fetches nothing. tools.toml has versions
and hashes; LAB_TOOLS_URL names a mirror (its https address stands for scheme and host of the upstream one).
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from cluster.fetch import NotFetched, fetch, is_safe, shown
from cluster.machine import version
from cluster.names import state
from cluster.unpack import NotUnpacked, can_unpack_debian, unpack_debian, unpack_tar
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
    debian: list[str] = field(default_factory=list)  # Debian's packages that hold it, the usual one first
    holds: list[str] = field(default_factory=list)  # what the upstream archive and the package have in them
    comes_with: str = ""  # another entry, from which all but the name is taken

    def check(self, place: Path) -> tuple[bool, str]:
        (a, b), (c, d) = self.oldest, self.newest
        return version(str(place), (a, b), (c, d), *self.ask)

    def address(self, system: str, arch: str) -> str:
        return self.url.format(version=self.version, os=system, arch=arch)


def read_tool(name: str) -> Tool:
    entries = tomllib.loads(TOOLS.read_text())
    if name not in entries:
        raise UnknownName("tool", name, sorted(entries))
    entry = entries[name]
    return Tool(name, **{**entries.get(entry.get("comes_with", ""), {}), **entry})


def folder() -> Path:
    return state() / "bin"


def path_with_tools() -> str:
    """The PATH, with the kit's own tools first if there are any. Where they are on it already, it stays as it is: what
    is before them is meant to be."""
    path = os.environ.get("PATH", "")
    own = [str(folder())] if folder().is_dir() and str(folder()) not in path.split(os.pathsep) else []
    return os.pathsep.join([*own, *filter(None, [path])])


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
        raise LabError(f"{said}.", f"`./lab cluster tools` fetches it, or install it yourself: {read_tool(name).page}")
    with locked(state() / "tools.lock", "the folder of the kit's tools", say):
        place, said = look(name)  # whoever held the lock may have fetched it
        return place or _install(read_tool(name), said, say)


def _install(tool: Tool, said: str, say: Callable[[str], None]) -> Path:
    if tool.debian and can_unpack_debian():
        try:
            return _unpack_package(tool, said, say)
        except NotUnpacked as wrong:  # no network to Debian, say: the upstream archive is another way
            say(wrong.problem)
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
        if tool.holds:
            _fetch_archive(tool, url, sha256)
        else:
            fetch(url, sha256, target, 0o755)
    except (NotFetched, NotUnpacked) as wrong:
        raise LabError(f"{said}, and {wrong.problem}.", _by_hand(tool, official, sha256, target)) from wrong
    good, said = tool.check(target)
    if not good:  # a folder from which nothing may be run, say
        raise LabError(f"{target} is the right file, but: {said}.", f"Install {wanted} on the PATH: {tool.page}")
    return target


def _unpack_package(tool: Tool, said: str, say: Callable[[str], None]) -> Path:
    say(f"{said}: unpacking Debian's package {tool.debian[0]} into {folder()}")
    unpack_debian(tool.debian, tool.holds, folder())
    good, found = tool.check(folder() / tool.name)
    if not good:
        raise NotUnpacked(f"Debian's package {tool.debian[0]}", found)
    return folder() / tool.name


def _fetch_archive(tool: Tool, url: str, sha256: str) -> None:
    with tempfile.TemporaryDirectory(prefix="fetch-") as place:
        archive = Path(place) / url.rpartition("/")[2]
        fetch(url, sha256, archive)
        unpack_tar(archive, tool.holds, folder())


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
    if name.endswith(".tar.gz"):  # the program is a file in it
        name = f"{name.removesuffix('.tar.gz')}/{target.name}"
    return (
        f"Nothing was kept. Name a mirror (LAB_TOOLS_URL=https://MIRROR), or fetch {url} on another machine,\n"
        f"  see that its sha256 is {sha256}, and put it in place:\n"
        f"  mkdir -p {shlex.quote(str(target.parent))} && install -m 755 {name} {here}"
    )


if __name__ == "__main__":
    looked = [look(name) for name in sys.argv[1:]]
    print("; ".join(sentence for _, sentence in looked))
    sys.exit(0 if all(found for found, _ in looked) else 1)
