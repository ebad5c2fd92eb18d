"""Takes others' work in: a private copy of a folder or an archive, in which there is nothing but plain files.

Nothing that lies in a submission is followed, waited for or believed: links that leave it, named pipes and devices are
left out and named; sizes and numbers are bounded before anything is copied, and again while it is.
"""

import contextlib
import os
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO
from unittest import mock

from grader.errors import LabError, WrongCall
from grader.kit import Kit
from grader.model import clean
from grader.sandbox import WANTED, find_way
from grader.workspace import Workspace, at, learner_workspace

# Large, and no part of the work. Below store/ nothing is skipped: what a Bento holds is what sc3 is there to find;
# below service/ what no build takes.
BESIDE = {".git", ".venv", "venv", "__pycache__", ".ipynb_checkpoints", "node_modules", "results", "backups"}
NEVER_BUILT = {".git", ".venv", "venv", "__pycache__"}
MOST_FILES, MOST_BYTES, LARGEST, DEEPEST = 20_000, 3 << 30, 1 << 30, 40
ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
OTHERS = (".rar", ".7z", ".zst")  # archives that are not read here: refused by name, and not passed over
MOST_ANSWERS, MOST_OF_A_HEADER, MOST_PASSED_OVER = 1 << 20, 1 << 20, 30 << 30
OWN_FOLDERS = ("service", "store")
LONG_HEADERS = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE)


class NotTaken(LabError):
    """A submission that is not graded at all, with the reason."""


@dataclass
class Taken:
    """The copy, and what of the original is not in it."""

    root: Path
    left_out: list[str] = field(default_factory=list)
    files: int = 0
    size: int = 0

    def count(self, name: str, size: int) -> None:
        self.files, self.size = self.files + 1, self.size + size
        if size > LARGEST or self.size > MOST_BYTES or self.files > MOST_FILES:
            much = f"{LARGEST >> 30} GiB a file, {MOST_BYTES >> 30} GiB and {MOST_FILES} files in all"
            raise NotTaken(f"The submission is larger than one is ({much}), at {name}.", "Ask for a smaller one.")

    def foresee(self, name: str, size: int) -> None:
        """Refuses what says itself that it is too large, before any of it is written."""
        if size > MOST_BYTES:
            self.count(name, size)

    def leave_out(self, name: str, why: str) -> None:
        if len(self.left_out) < 50:
            self.left_out.append(f"{name} ({why})")

    def write(self, name: str, source: IO[bytes]) -> None:
        """Copies to its end, or up to the limits: what was said of its size may not be true."""
        target = self.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        written = 0
        with target.open("wb") as out:
            while data := source.read(1 << 20):
                written += len(data)
                if written > LARGEST or self.size + written > MOST_BYTES:
                    self.count(name, written)
                out.write(data)
        self.count(name, written)


@contextlib.contextmanager
def taken_in(source: Path) -> Iterator[Taken]:
    """The copy of a folder or an archive, removed at the end. Raises NotTaken."""
    if not source.exists():
        raise WrongCall(f"There is no submission at {source}.", "Name a folder, or an archive.")
    with tempfile.TemporaryDirectory(prefix="submission-", ignore_cleanup_errors=True) as folder:
        root = Path(folder) / (source.name.split(".")[0] or "work")
        root.mkdir()
        taken = Taken(root)
        if source.is_dir() and (archive := lone_archive(source)):
            unpack(archive, taken)
        elif source.is_dir():
            copy_folder(source, PurePosixPath(), taken)
        elif is_archive(source):
            unpack(source, taken)
        else:
            raise NotTaken(f"{source.name} is neither a folder nor an archive.", f"Known are {', '.join(ENDINGS)}.")
        drop_links_out(taken)
        taken.root = find_root(root)
        for name in OWN_FOLDERS:
            if (taken.root / name).is_symlink():
                refuse_link(taken.root / name)
        answers = taken.root / "answers.json"
        if answers.is_file() and answers.stat().st_size > MOST_ANSWERS:
            answers.unlink()
            taken.leave_out("answers.json", f"more than {MOST_ANSWERS >> 20} MiB")
        yield taken


def is_archive(path: Path, besides: tuple[str, ...] = ()) -> bool:
    """By its name: one that is read here, or one of those."""
    return path.name.lower().endswith((*ENDINGS, *besides))


def lone_archive(folder: Path) -> Path | None:
    """The archive that is all that is in a folder, as a learning platform hands it out."""
    inside = [p for p in folder.iterdir() if not p.name.startswith(".")]
    alone = len(inside) == 1 and inside[0].is_file() and not inside[0].is_symlink()
    return inside[0] if alone and is_archive(inside[0]) else None


def drop_links_out(taken: Taken) -> None:
    """Takes away each link that leads out of the copy when all are followed: of a chain of links each may look as if it
    stayed inside."""
    top = taken.root.resolve()
    for place, folders, names in os.walk(taken.root):
        for path in (Path(place, name) for name in (*folders, *names)):
            if path.is_symlink() and not leads_below(path, top):
                why = f"a link that leaves the submission, to {path.readlink()}"
                taken.leave_out(str(path.relative_to(taken.root)), why)
                path.unlink()


def leads_below(link: Path, top: Path) -> bool:
    try:
        return link.resolve(strict=False).is_relative_to(top)
    except (OSError, RuntimeError):  # a loop
        return False


def refuse_link(path: Path) -> None:
    raise NotTaken(f"{path.name} is a link to {path.readlink()}, not a folder.", "Ask for the folder itself.")


def find_root(root: Path) -> Path:
    """The folder with service/ or store/ in it, of the nearest to the top. An archive often holds one folder, and all
    in that, and a repository has the work beside its README."""
    waiting = [root]
    for _ in range(3):
        if found := next((p for p in waiting if any((p / name).is_dir() for name in OWN_FOLDERS)), None):
            return found
        below = [p for place in waiting for p in sorted(place.iterdir()) if p.is_dir() and not p.is_symlink()]
        waiting = [p for p in below if not p.name.startswith((".", "__MACOSX"))]
    return root


def is_skipped(path: PurePosixPath) -> bool:
    """Whether a folder or file of that path is no part of the work."""
    within = next((name for name in path.parts if name in OWN_FOLDERS), "")
    return bool(set(path.parts) & {"": BESIDE, "service": NEVER_BUILT, "store": set()}[within])


def copy_folder(source: Path, below: PurePosixPath, taken: Taken) -> None:
    if len(below.parts) > DEEPEST:
        raise NotTaken(f"The submission has folders more than {DEEPEST} deep.", "Ask for one that has not.")
    (taken.root / below).mkdir(exist_ok=True)
    for entry in sorted(os.scandir(source / below), key=lambda e: e.name):
        name = below / entry.name
        if entry.is_symlink():
            copy_link(source, name, taken)
        elif entry.is_dir(follow_symlinks=False):
            if not is_skipped(name):
                copy_folder(source, name, taken)
        elif not entry.is_file(follow_symlinks=False):
            taken.leave_out(str(name), "neither a file nor a folder")
        else:
            copy_file(source / name, str(name), taken)


def copy_file(path: Path, name: str, taken: Taken) -> None:
    """A file that was one when it was looked at; what it is now is looked at again, without following or waiting."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as wrong:
        return taken.leave_out(name, wrong.strerror or "unreadable")
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            return taken.leave_out(name, "neither a file nor a folder")
        if about.st_size > LARGEST:
            taken.count(name, about.st_size)  # a sparse one is not read to its end to know
        return taken.write(name, file)


def copy_link(source: Path, name: PurePosixPath, taken: Taken) -> None:
    """A link that stays inside is copied as it is; BentoML's own stores have none."""
    target = (source / name).readlink()
    if len(name.parts) == 1 and name.name in (*OWN_FOLDERS, "results"):
        refuse_link(source / name)
    inside = os.path.normpath(PurePosixPath(name.parent, target))
    if target.is_absolute() or inside.startswith(".."):
        return taken.leave_out(str(name), f"a link that leaves the submission, to {target}")
    (taken.root / name).symlink_to(target)
    return None


class Member(tarfile.TarInfo):
    """One whose header is no longer than a name can be: Python reads headers whole, before anyone can say no."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in (*LONG_HEADERS, tarfile.SOLARIS_XHDTYPE) and self.size > MOST_OF_A_HEADER:
            raise tarfile.ReadError(f"a header of {self.size} bytes")
        return super()._proc_member(tar)  # type: ignore[misc, no-any-return]


def unpack(archive: Path, taken: Taken) -> None:
    try:
        if archive.name.lower().endswith(".zip"):
            with zipfile.ZipFile(archive) as packed:
                kept = [item for item in packed.infolist() if not is_skipped(PurePosixPath(item.filename))]
                taken.foresee(archive.name, sum(item.file_size for item in kept))
                for item in packed.infolist():
                    unpack_one(item.filename, not item.is_dir(), partial(packed.open, item), taken)
        else:
            passed_over = 0
            with tarfile.open(archive, tarinfo=Member) as tar:
                for member in tar:
                    passed_over += member.size
                    taken.foresee(member.name, 0 if passed_over < MOST_PASSED_OVER else passed_over)
                    if not (member.isreg() or member.isdir()):
                        taken.leave_out(member.name, "a link, or neither a file nor a folder")
                    else:
                        unpack_one(member.name, member.isreg(), partial(tar.extractfile, member), taken)
    except NotTaken:
        raise
    except Exception as bad:  # zlib's, lzma's, struct's: each format breaks in its own way
        raise NotTaken(f"{archive.name} cannot be unpacked: {type(bad).__name__}: {bad}.", "Ask for it again.") from bad


def unpack_one(name: str, is_file: bool, opened: Callable[[], IO[bytes] | None], taken: Taken) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or len(path.parts) > DEEPEST:
        return taken.leave_out(name, "a path out of the archive")
    if not is_file or is_skipped(path):
        return None
    if source := opened():
        with source:
            taken.write(str(path), source)
    return None


# ---------------------------------------------------------------- whose work is it


@contextlib.contextmanager
def opened(kit: Kit, folder: str, out: str, trust: bool, say: Callable[[str], None]) -> Iterator[Workspace]:
    """The workspace to be graded: the learner's own, or, with `folder`, a copy of others' work, whose code then runs in
    a sandbox (`trust`: neither copied nor boxed). Reports go to `out`, or beside the work."""
    own = at(kit, Path(folder)) if folder else learner_workspace(kit)
    results = Path(out).absolute() if out else own.results
    if not folder or trust:
        yield replace(own, out=ready_folder(results, own.root))
        return
    way = find_way()
    with taken_in(own.root) as taken, mock.patch.dict(os.environ, {WANTED: way}):
        for line in taken.left_out:
            say(f"left out of what is graded: {clean(line)}")
        yield Workspace(kit, taken.root, own.name, ready_folder(results, own.root))


def ready_folder(folder: Path, work: Path) -> Path:
    """Made, and ours to write; not one that a link in the work leads to."""
    remedy = "Name a folder for the reports: --out DIR."
    if folder.is_symlink() and folder.is_relative_to(work):
        raise NotTaken(f"{folder} is a link to {folder.readlink()}: a report would be written there.", remedy)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as wrong:
        raise LabError(f"No report can be written to {folder}: {wrong.strerror}.", remedy) from wrong
    if not os.access(folder, os.W_OK):
        raise LabError(f"No report can be written to {folder}: it is not yours to write.", remedy)
    return folder
