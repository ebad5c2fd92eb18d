"""Who is compared, as peers.toml says it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cluster.names import KIT
from grader.errors import BadKit, UnknownName
from grader.world.layers import count_lines
from labs.helpers.peers.asking import FORMS, Form

HERE = Path(__file__).parent
STATED = HERE / "peers.toml"


@dataclass(frozen=True)
class Peer:
    """One way to serve the two models. `program` and `environ` may hold {port}, {free}, {cores} and {project}."""

    name: str
    title: str
    files: tuple[str, ...]
    form_name: str
    batches: str
    pins: str = ""
    program: tuple[str, ...] = ()
    step: str = ""
    package: str = ""
    folder: str = "servers"
    environ: Mapping[str, str] = field(default_factory=dict)

    @property
    def form(self) -> Form:
        return FORMS[self.form_name]

    def filled(self, **words: object) -> tuple[list[str], dict[str, str]]:
        """Program and environ with those words in the place of {their names}."""

        def fill(text: str) -> str:
            for name, word in words.items():
                text = text.replace(f"{{{name}}}", str(word))
            return text

        return [fill(part) for part in self.program], {name: fill(value) for name, value in self.environ.items()}

    def lines(self) -> dict[str, int]:
        """Lines of code (neither blank nor comment) of each file that a team writes, as lab 10 counts them."""
        return {name: count_lines(place(name).read_text()) for name in self.files}


def place(file: str) -> Path:
    """Where a file that peers.toml names is in the kit."""
    return KIT / file if file.startswith("service/") else HERE / file


def read(path: Path = STATED) -> dict[str, Peer]:
    """All peers by name, in the file's order. Raises BadKit."""
    try:
        return {name: make(name, stated) for name, stated in tomllib.loads(path.read_text()).items()}
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as wrong:
        raise BadKit(path, f"{type(wrong).__name__}: {wrong}") from wrong


def make(name: str, stated: dict[str, object]) -> Peer:
    known = {key: tuple(value) if isinstance(value, list) else value for key, value in stated.items()}
    peer = Peer(name=name, form_name=str(known.pop("form")), **known)  # type: ignore[arg-type]
    if peer.form_name not in FORMS:
        raise KeyError(f"{name}: form {peer.form_name}")
    return peer


def choose(names: tuple[str, ...]) -> list[Peer]:
    """Those, or all. Raises UnknownName."""
    known = read()
    for name in names:
        if name not in known:
            raise UnknownName("peer", name, list(known))
    return [peer for name, peer in known.items() if not names or name in names]
