"""Takes single programs out of an archive or a distribution's package. Nothing is installed, no service starts."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from grader.errors import LabError

LIMIT = 300.0  # seconds for apt's download, or for dpkg
MOST = 300_000_000  # bytes of one program: Prometheus has 130 million


class NotUnpacked(LabError):
    """`source` did not give the programs: `reason` says why. Nothing of it is left."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"{source} gave no programs: {reason}", "Install them yourself, on the PATH.")
        self.source, self.reason = source, reason


def can_unpack_debian() -> bool:
    return bool(shutil.which("apt-get") and shutil.which("dpkg"))


def unpack_debian(packages: Sequence[str], programs: Sequence[str], target: Path) -> None:
    """The programs of Debian's packages, from usr/bin, in the folder `target`. apt checks each file against its signed
    lists; it needs no root for that, and installs nothing. A package is asked only for what those before it lack:
    promtool is in Debian 12's prometheus, and a package of its own in Debian 13."""
    with tempfile.TemporaryDirectory(prefix="unpack-") as folder:
        found = Path(folder, "out", "usr", "bin")
        for package in packages:
            if any(not (found / name).is_file() for name in programs):
                _extract(package, folder)
        if lacking := [name for name in programs if not (found / name).is_file()]:
            raise NotUnpacked(f"Debian's package {packages[-1]}", f"{' and '.join(lacking)} is not in it")
        for name in programs:
            place(found / name, target / name)


def _extract(package: str, folder: str) -> None:
    _call(["apt-get", "download", "-q", package], folder)
    files = list(Path(folder).glob(f"{package}_*.deb"))
    if len(files) != 1:
        raise NotUnpacked(f"apt-get download {package}", f"it left {len(files)} packages")
    _call(["dpkg", "-x", str(files[0]), "out"], folder)


def unpack_tar(archive: Path, programs: Sequence[str], target: Path) -> None:
    """The programs of a .tar.gz, wherever in it they are, in the folder `target`."""
    with tempfile.TemporaryDirectory(prefix="unpack-") as folder:
        try:
            with tarfile.open(archive) as tar:
                for member in tar:
                    name = Path(member.name).name
                    if name in programs and member.isfile() and member.size <= MOST:
                        _copy(tar, member, Path(folder, name))
        except (tarfile.TarError, OSError, EOFError) as wrong:
            raise NotUnpacked(archive.name, str(wrong)) from wrong
        for name in programs:
            place(Path(folder, name), target / name)


def _copy(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    """Only the bytes: neither the archive's paths nor its modes are taken over."""
    source = tar.extractfile(member)
    assert source is not None  # it is a file
    with source, path.open("wb") as out:
        shutil.copyfileobj(source, out)


def place(source: Path, target: Path) -> None:
    """The program in its place in one step, so that nobody runs half of it."""
    if not source.is_file():
        raise NotUnpacked(source.name, "the archive does not hold it")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    shutil.copyfile(source, part)
    part.chmod(0o755)
    part.replace(target)


def _call(command: Sequence[str], folder: str) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=LIMIT)
    except (OSError, subprocess.TimeoutExpired) as wrong:
        raise NotUnpacked(" ".join(command[:3]), str(wrong)) from wrong
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "no word").splitlines()[-1]
        raise NotUnpacked(" ".join(command[:3]), said)
