"""A workspace: the folder in which a person, the walk or a mutant does the labs. All that a learner makes is files.

NN_name.ipynb   service/ (the BentoML project)   store/ (BENTOML_HOME)   answers.json   results/   backups/
.lab.json (digests of what the kit, or `%%work`, wrote)
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from grader.environ import child_environ, put_first
from grader.errors import LabError, WrongCall
from grader.kit import Kit

WALK = "walk"  # the name of the walk's workspace


@dataclass(frozen=True)
class Workspace:
    """`name` is empty for the learner's; it keeps shared things (namespaces, ports) of two workspaces apart. `out` is
    where reports go, if not into the workspace."""

    kit: Kit
    root: Path
    name: str = ""
    out: Path | None = None

    @property
    def service(self) -> Path:
        return self.root / "service"

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def results(self) -> Path:
        return self.out or self.root / "results"

    def environ(self) -> dict[str, str]:
        """What every process of this workspace gets: the kit's variables, our Python first, our kernels alone."""
        given, places = self.kit.settings.get("env", {}), {"work": self.root, "kit": self.kit.root, "name": self.name}
        filled = {k: str(v).format(**places) for k, v in given.items()} | (self.kit.call("variables", self.name) or {})
        usual = child_environ()
        return {
            **usual,
            **filled,
            "PATH": put_first(usual["PATH"], Path(sys.executable).parent, self.kit.state / "bin"),
            "LAB_KIT": str(self.kit.root),
            "LAB_WORK": str(self.root),
            "LAB_WORKSPACE": self.name,
            # the user's own IPython profile (start-up files, history) stays out of it
            "IPYTHONDIR": str(self.kit.state / "ipython"),
            "JUPYTER_PREFER_ENV_PATH": "1",  # and so does a kernel of the same name in the home of who owns not .venv
        }

    def answers(self) -> list[dict[str, Any]]:
        """The learner's answers so far: [{"id", "text", "at"}], with "measured" where it was."""
        path = self.root / "answers.json"
        kept = read_json(path)
        if bad := [k for k, v in kept.items() if not isinstance(v, dict) or not isinstance(v.get("text"), str)]:
            problem = f"{path} cannot be read: {bad[0]} has no text."
            raise LabError(problem, "Repair it, or move it away; a new one is begun.")
        return [{"id": k, **v} for k, v in sorted(kept.items())]

    def provide(self) -> list[str]:
        """Brings the kit's notebooks and given files here and says what it did. A file that the learner changed, or
        ran, is left alone: only what is byte for byte as the kit gave it is replaced by the kit's newer version."""
        self.root.mkdir(parents=True, exist_ok=True)
        said = []
        for lab in self.kit.labs():
            pairs = [(self.kit.root / "labs" / lab.notebook, lab.notebook)]
            pairs += [(self.kit.root / given, given) for given in lab.front.get("gives", [])]
            said += [line for source, name in pairs if (line := self._provide_one(source, name))]
        return said

    def _provide_one(self, source: Path, name: str) -> str:
        target, new = self.root / name, digest(source.read_bytes())
        given = read_json(self.root / ".lab.json").get(name)
        now = digest(target.read_bytes()) if target.exists() else None
        if now not in (None, new, given):  # somebody's work
            remedy = f"`./lab update {name[:2]}` brings it, with your work in it" if name.endswith(".ipynb") else source
            return f"kept your {name}; the kit's has changed ({remedy})" if given != new else ""
        self.remember(name, new)
        if now == new:
            return ""
        write_atomic(target, source.read_bytes())
        return f"updated {name}, which you had not changed" if now else f"added {name}"

    def remember(self, name: str, what: str) -> None:
        """Notes the digest of a file as the kit, or `%%work`, last wrote it."""
        path = self.root / ".lab.json"
        write_atomic(path, json.dumps({**read_json(path), name: what}, indent=1).encode())

    def back_up(self, name: str) -> Path | None:
        """Moves a file or folder to backups/, where nothing is ever overwritten. None when there is nothing to move."""
        if not (self.root / name).exists():
            return None
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S-%f")
        kept = self.root / "backups" / f"{Path(name).name}.{stamp}"
        kept.parent.mkdir(exist_ok=True)
        (self.root / name).replace(kept)
        return kept


def learner_workspace(kit: Kit, make: bool = False) -> Workspace:
    """LAB_WORK, or work/ in the kit; the variables are also how a notebook's kernel knows whose it is."""
    folder = Path(os.environ.get("LAB_WORK") or kit.root / "work")
    if make:
        folder.mkdir(parents=True, exist_ok=True)
    return at(kit, folder, os.environ.get("LAB_WORKSPACE", ""))


def at(kit: Kit, folder: Path, name: str = "") -> Workspace:
    """The workspace in that folder, which may be empty but must be one that we can use."""
    root = folder.absolute()
    if root.exists() and not root.is_dir():
        raise WrongCall(f"{root} is a file, not a workspace.", "Name a folder: --work DIR, or LAB_WORK=DIR.")
    if not root.exists():
        raise WrongCall(f"There is no workspace at {root}.", "`./lab start` makes yours, `./lab walk` the solutions'.")
    return Workspace(kit, root, name)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def read_json(path: Path) -> dict[str, Any]:
    """The file's object; empty when it does not exist yet. A damaged file is an error: it may hold somebody's work."""
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, OSError) as wrong:
        raise LabError(f"{path} cannot be read: {wrong}", "Repair it, or move it away; a new one is begun.") from wrong


def write_atomic(path: Path, data: bytes) -> None:
    """Whole or not at all: an interrupted run leaves the old file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as part:
        try:
            part.write(data)
            part.flush()
            Path(part.name).chmod(0o644)
            Path(part.name).replace(path)
        except BaseException:
            Path(part.name).unlink(missing_ok=True)
            raise


def is_special(path: Path) -> bool:
    """Neither a file nor a folder nor a link."""
    return not (path.is_symlink() or path.is_dir() or path.is_file()) and path.exists()


def copy_tree(source: Path, target: Path, skip: set[str] | None = None) -> None:
    """Copies a folder; links stay links; `skip` holds paths relative to it. Named pipes, sockets and devices, which
    nobody could copy, are left out."""
    left_out = {source / s for s in skip or ()}

    def ignore(folder: str, names: list[str]) -> list[str]:
        return [n for n in names if (path := Path(folder, n)) in left_out or is_special(path)]

    shutil.copytree(source, target, symlinks=True, ignore=ignore, dirs_exist_ok=True)


@contextlib.contextmanager
def locked(path: Path, what: str, say: Callable[[str], None]) -> Iterator[None]:
    """Holds a file lock, which the system frees when we die. A second one says who holds it, then waits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting: {what} is in use by {path.read_text() or 'another process'}")
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # a network's or a virtual machine's disk
            say(f"the disk of {path.parent} has no locks: let no second command of the lab run at the same time")
        path.write_text(f"process {os.getpid()} since {time.strftime('%H:%M:%S')}")
        yield
