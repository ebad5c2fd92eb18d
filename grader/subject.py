"""The two ends of a conversation with a process that runs a submission's code.

The asker (a probe) holds what is expected and compares; it imports and unpickles nothing of the submission. The subject
(`-m grader.subject MODULE FD`) answers the questions of one module, JSON line by JSON line, over a socket that was left
to it. What it can forge is its own answers, and a forged answer that is right is a right answer.

    with subject("grader.world.saved", [ws.service, ws.store], {"BENTOML_HOME": ...}, Subject) as asked:  # a Subject
        rows, problem = asked.ask("encode", texts=["..."])

A subject that exits, hangs or answers in another form is a fact about the submission: `problem` says so.
"""

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from grader.processes import memory_kills, refuse_want, started
from grader.sandbox import WANTED, boxed, check_built
from grader.warm import WARM, forked, serve_forks

PATIENCE = 15.0  # seconds for each thing asked of the learner's code; the slowest, loading, takes one
GRACE = 5.0  # more that the asker waits: the subject itself says when its time is over
LONGEST = 64 << 20  # bytes of an answer


class Running(Protocol):
    """A process whose exit code can be waited for. Raises subprocess.TimeoutExpired."""

    def wait(self, timeout: float) -> int: ...


class Subject:
    """The asker's end."""

    def __init__(self, process: Running, channel: socket.socket, log: Path) -> None:
        self.process, self.channel, self.log = process, channel, log
        self.rest, self.number, self.ended = b"", 0, ""
        self.memory_kills = memory_kills()

    def ask(self, question: str, patience: float = PATIENCE, **given: Any) -> tuple[Any, str]:
        """(answer, ""), or (None, what came in its place) in one line. Once a subject has ended, it stays so."""
        if self.ended:
            return None, self.ended
        self.number += 1
        line = json.dumps({"id": self.number, "question": question, "patience": patience, "given": given}) + "\n"
        try:
            self.channel.settimeout(patience + GRACE)
            self.channel.sendall(line.encode())
            told = json.loads(self.read_line(patience))
            if told["id"] != self.number or not isinstance(told["problem"], str):
                raise ValueError("it answers another question")
            return told["answer"], told["problem"]
        except TimeoutError:
            return self.end(f"TimeoutError: no answer within {patience:g} seconds")
        except OSError:
            return self.end(f"its process ended{self.last_words()}")
        except (ValueError, KeyError, TypeError, RecursionError) as wrong:
            return self.end(f"its process said what is no answer ({type(wrong).__name__}: {str(wrong)[:80]})")

    def read_line(self, patience: float) -> bytes:
        deadline = time.monotonic() + patience + GRACE
        while b"\n" not in self.rest:
            if len(self.rest) > LONGEST:
                raise ValueError(f"more than {LONGEST >> 20} MiB")
            self.channel.settimeout(max(0.01, deadline - time.monotonic()))
            if not (data := self.channel.recv(1 << 20)):
                raise ConnectionError
            self.rest += data
        line, _, self.rest = self.rest.partition(b"\n")
        return line

    def end(self, problem: str) -> tuple[None, str]:
        self.ended = problem
        self.channel.close()
        return None, problem

    def last_words(self) -> str:
        code: int | None = None
        with suppress(subprocess.TimeoutExpired):
            code = self.process.wait(2)
        lines = self.log.read_text(errors="replace")[-2000:].strip().splitlines()
        check_built(code, "".join(lines[-1:]))
        refuse_want(self.memory_kills)
        return f" (exit code {code}){': ' + lines[-1][:200] if lines else ''}"


S = TypeVar("S", bound=Subject)


@contextmanager
def subject(
    module: str, shown: Sequence[Path], environ: Mapping[str, str], kind: type[S], written: Sequence[Path] = ()
) -> Iterator[S]:
    """A running subject that answers the questions of `module`, in an empty folder, boxed if this grading wants it."""
    ours, theirs = socket.socketpair()
    with tempfile.TemporaryDirectory(prefix="subject-", ignore_cleanup_errors=True) as folder, ours, theirs:
        (empty := Path(folder) / "empty").mkdir()
        with running(module, theirs.fileno(), empty, shown, environ, written, log := Path(folder) / "log") as process:
            theirs.close()
            yield kind(process, ours, log)


@contextmanager
def running(
    module: str, channel: int, empty: Path, shown: Sequence[Path], environ: Mapping[str, str], written: Sequence[Path],
    log: Path,
) -> Iterator[Running]:  # fmt: skip
    """The process at the other end: forked off a warm one if there is one and no box is wanted, else a new one."""
    with ExitStack() as stack:
        process: Running | None = None
        if WARM in os.environ and not os.environ.get(WANTED):
            process = stack.enter_context(forked(module, channel, empty, environ, log))
        if process is None:
            command = [sys.executable, "-P", "-m", "grader.subject", module, str(channel)]
            box = stack.enter_context(boxed(command, empty, environ, [*shown, empty], written, pass_fds=[channel]))
            process, _ = stack.enter_context(started(box.command, box.cwd, box.environ, log, pass_fds=box.pass_fds))
        yield process


# ---------------------------------------------------------------- the subject's end


def one_line(broken: BaseException) -> str:
    """An exception in one line."""
    first = (str(broken).strip().splitlines() or [""])[0]
    return f"{type(broken).__name__}: {first[:200].rstrip('.')}"


def attempt(act: Callable[[], Any], patience: float = PATIENCE) -> tuple[Any, str]:
    """What the learner's code gives, or what it raises; to exit and never to answer are theirs too. Do not nest."""

    def too_late(*_: object) -> None:
        raise TimeoutError(f"no answer within {patience:g} seconds")

    signal.signal(signal.SIGALRM, too_late)
    signal.setitimer(signal.ITIMER_REAL, patience)
    try:
        return act(), ""
    except BaseException as broken:
        return None, one_line(broken)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def answer_all(module: str, channel: int) -> None:
    os.set_inheritable(channel, False)
    questions: dict[str, Callable[..., Any]] = importlib.import_module(module).QUESTIONS
    with socket.socket(fileno=channel) as line_in, line_in.makefile("rwb") as file:
        for line in file:
            asked = json.loads(line)
            told: dict[str, Any] = {"id": asked["id"]}
            act = questions[asked["question"]]
            told["answer"], told["problem"] = attempt(partial(answer_one, act, asked["given"]), asked["patience"])
            file.write(json.dumps(told).encode() + b"\n")
            file.flush()


def answer_one(act: Callable[..., Any], given: dict[str, Any]) -> Any:
    return plain(act(**given))


def plain(value: Any) -> Any:
    """Arrays as lists, and numbers of NumPy's as numbers; what JSON cannot carry raises here, in the learner's time."""
    value = value.tolist() if hasattr(value, "tolist") else value
    json.dumps(value)
    return value


if __name__ == "__main__":
    if sys.argv[1] == "--warm":
        serve_forks(int(sys.argv[2]), sys.argv[3:], answer_all)
    answer_all(sys.argv[1], int(sys.argv[2]))
