"""The first process in a box (`python -I box.py SPEC`): builds it, starts the command in it, and ends it all.

It runs as process 1 of namespaces that `unshare` made, or under bubblewrap or in a container, which are built already.
SPEC is JSON: `shown` and `written` (folders and files, each at its own path; only the second can be written), `root`
(an empty folder), `build` (no: another did), `door` (a socket where what is inherited can be fetched), `environ`,
`cwd`, `command`, `fds` (for the command), `listener` and `port` (who connects to the listening socket is handed on to
that port in here), `memory` (bytes), `processes`, `disk` (bytes in all of `written`). Knows nothing of the kit: only
the standard library is imported.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, REC, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
KEPT = {"nosuid": NOSUID, "nodev": NODEV, "noexec": NOEXEC, "noatime": 1024, "nodiratime": 2048, "relatime": 1 << 21}
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/sys/devices/system", "/sys/fs/cgroup")
SETTINGS = ("passwd", "group", "hosts", "nsswitch.conf", "localtime", "ld.so.cache", "ld.so.conf", "ld.so.conf.d",
            "ssl", "alternatives", "mime.types")  # fmt: skip
DEVICES = ("null", "zero", "full", "random", "urandom")
LARGEST_FILE = 256 << 20  # bytes
TOO_MUCH, NOT_BUILT = 99, 98  # exit codes
libc = ctypes.CDLL(None, use_errno=True)


def main(spec: dict[str, Any]) -> int:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))  # the kernel then ends all that is in here
    if spec["build"]:
        build(Path(spec["root"]), spec["shown"], spec["written"])
        raise_loopback()
    with contextlib.suppress(OSError):
        Path("/proc/sys/user/max_user_namespaces").write_text("0")
    if spec.get("door"):
        fetch_files(spec["door"], [*spec["fds"], *([spec["listener"]] if spec["listener"] is not None else [])])
        threading.Thread(target=end_with, args=[0], daemon=True).start()
    libc.prctl(4, 0, 0, 0, 0)  # not dumpable: nobody in here attaches to this process
    if spec["listener"] is not None:
        listener = socket.socket(fileno=spec["listener"])
        threading.Thread(target=hand_on, args=[listener, spec["port"]], daemon=True).start()
    child = subprocess.Popen(
        spec["command"], cwd=spec["cwd"], env=spec.get("environ"), stdin=subprocess.DEVNULL, pass_fds=spec["fds"],
        preexec_fn=give_up_power,
    )  # fmt: skip
    return watch(child.pid, spec)


# ---------------------------------------------------------------- what is there


def build(root: Path, shown: list[str], written: list[str]) -> None:
    """A new root in which there is nothing but what is shown, and small disks in memory."""
    mount("none", "/", flags=REC | PRIVATE)
    mount("tmpfs", root, "tmpfs", NOSUID | NODEV, "size=16m,mode=755")
    settings = [f"/etc/{name}" for name in SETTINGS]
    for path in sorted({*SYSTEM, *settings, *shown}, key=len):
        show(root, Path(path), writable=False)
    disks = {"/tmp": "size=512m,mode=1777", "/dev": "size=1m,mode=755", "/dev/shm": "size=256m,mode=1777", "/proc": ""}
    for path, options in disks.items():
        inside(root, path).mkdir(parents=True, exist_ok=True)
        mount("proc" if path == "/proc" else "tmpfs", inside(root, path), "proc" if path == "/proc" else "tmpfs",
              NOSUID | (NOEXEC if path == "/proc" else 0), options)  # fmt: skip
    for name in DEVICES:
        inside(root, f"/dev/{name}").touch()
        mount(f"/dev/{name}", inside(root, f"/dev/{name}"), flags=BIND)
    for name, target in {"fd": "/proc/self/fd", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}.items():
        inside(root, f"/dev/{name}").symlink_to(target)
    for path in [*shown, *written]:  # what lies where a disk was put since
        if path.startswith(("/tmp/", "/dev/shm/")) or path in written:
            show(root, Path(path), writable=path in written)
    os.chdir(root)
    call("pivot_root", b".", b".")
    call("umount2", b".", 2)
    os.chdir("/")


def inside(root: Path, path: str | Path) -> Path:
    return root / str(path).lstrip("/")


def show(root: Path, path: Path, writable: bool) -> None:
    """That folder or file at its own path; a link (/bin is one to usr/bin) as a link."""
    target = inside(root, path)
    if not os.path.lexists(path) or (os.path.lexists(target) and not writable and os.path.ismount(target)):
        return
    if path.is_symlink():
        target.parent.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(target):
            target.symlink_to(path.readlink())
        return show(root, path.resolve(), writable) if not str(path.resolve()).startswith(SYSTEM) else None
    if not os.path.lexists(target):
        (target if path.is_dir() else target.parent).mkdir(parents=True, exist_ok=True)
        target.touch()
    mount(path, target, flags=BIND | REC)
    for place, options in mounts(target):
        kept = sum(flag for word, flag in KEPT.items() if word in options)
        mount("none", place, flags=REMOUNT | BIND | kept | NOSUID | NODEV | (0 if writable else RDONLY))
    return None


def mounts(under: Path) -> list[tuple[str, list[str]]]:
    """(mount point, options) of each mount from there on."""
    rows = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    found = [(row[4].encode().decode("unicode_escape").encode("latin1").decode(), row[5].split(",")) for row in rows]
    return [(place, options) for place, options in found if Path(place).is_relative_to(under)]


def mount(source: str | Path, target: str | Path, kind: str = "", flags: int = 0, options: str = "") -> None:
    call("mount", str(source).encode(), str(target).encode(), kind.encode() or None, flags, options.encode() or None)


def call(name: str, *words: Any) -> None:
    if getattr(libc, name)(*(ctypes.c_ulong(w) if isinstance(w, int) else w for w in words)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name} {[w.decode() for w in words[:2] if isinstance(w, bytes)]}: {os.strerror(code)}")


def raise_loopback() -> None:
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: up, running


def fetch_files(door: str, numbers: list[int]) -> None:
    """What an engine hands through to no container: open files from outside, each under the number it has there."""
    with socket.socket(socket.AF_UNIX) as asker:
        asker.connect(door)
        _, found, _, _ = socket.recv_fds(asker, 1, len(numbers))
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 1000) for fd in found]  # out of the way of one another
    for fd in found:
        os.close(fd)
    for fd, number in zip(high, numbers, strict=True):
        os.dup2(fd, number)
        os.close(fd)


def end_with(lifeline: int) -> None:
    """When that input ends, whoever started this is gone."""
    while os.read(lifeline, 4096):
        pass
    os._exit(143)


# ---------------------------------------------------------------- what it may do


def give_up_power() -> None:
    """In the command's process, before it runs: no capability, none by a later program either, and limits."""
    for capability in range(64):
        libc.prctl(24, capability, 0, 0, 0)  # drop it from the bounding set
    libc.prctl(38, 1, 0, 0, 0)  # no new privileges
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))


def watch(child: int, spec: dict[str, Any]) -> int:
    """Waits for the command, buries what it leaves, and ends all when they take too much. Returns its exit code."""
    while True:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == child:
                    code = os.waitstatus_to_exitcode(ended[1])
                    code = code if code >= 0 else 128 - code
                    return code if code not in (TOO_MUCH, NOT_BUILT) else 1  # those two are ours to say
        if problem := too_much(spec):
            print(f"the box was closed: {problem}", file=sys.stderr, flush=True)
            return TOO_MUCH
        time.sleep(0.05)


def too_much(spec: dict[str, Any]) -> str:
    numbers = [path.name for path in Path("/proc").iterdir() if path.name.isdigit()]
    if len(numbers) > spec["processes"]:
        return f"more than {spec['processes']} processes"
    if sum(map(memory_of, numbers)) + sum(files_in_memory(numbers).values()) > spec["memory"]:
        return f"more than {spec['memory'] / 2**30:g} GiB of memory"
    if time.monotonic() % 1 < 0.06 and sum(map(size_of, spec["written"])) > spec["disk"]:
        return f"more than {spec['disk'] / 2**20:g} MiB written"
    return ""


def memory_of(process: str) -> int:
    """Bytes that are its own, or that it may share with others; pages of files (libraries) count for nobody."""
    with contextlib.suppress(OSError, ValueError):
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
        told = dict(line.partition(":")[::2] for line in lines if line.startswith(("RssAnon", "RssShmem")))
        return 1024 * sum(int(value.split()[0]) for value in told.values())
    return 0


def files_in_memory(processes: list[str]) -> dict[int, int]:
    """Bytes of each file that is in memory alone (memfd_create), by its number: in no process's own unless mapped."""
    found = {}
    for process in processes:
        with contextlib.suppress(OSError):
            for entry in os.scandir(f"/proc/{process}/fd"):
                with contextlib.suppress(OSError):
                    if str(Path(entry.path).readlink()).startswith("/memfd:"):
                        about = entry.stat()
                        found[about.st_ino] = about.st_blocks * 512
    return found


def size_of(folder: str) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += Path(place, name).lstat().st_blocks * 512
    return total


# ---------------------------------------------------------------- who may ask


def hand_on(listener: socket.socket, port: int) -> None:
    """Whoever connects from outside talks to that port in here."""
    while True:
        outer, _ = listener.accept()
        try:
            inner = socket.create_connection(("127.0.0.1", port))
        except OSError:
            outer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # refused there, reset here
            outer.close()
            continue
        for one, other in ((outer, inner), (inner, outer)):
            threading.Thread(target=copy, args=[one, other], daemon=True).start()


def copy(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := one.recv(65536):
            other.sendall(data)
    with contextlib.suppress(OSError):
        other.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    try:
        code = main(json.loads(sys.argv[1]))
    except OSError as broken:
        print(f"the box cannot be built: {broken}", file=sys.stderr)
        code = NOT_BUILT
    sys.stderr.flush()
    os._exit(code)
