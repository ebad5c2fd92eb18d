"""Stopwatches. A number that a text quotes is measured on the reader's machine, by the cell that quotes it."""

from __future__ import annotations

import time
from collections.abc import Callable

from IPython import get_ipython


def fastest(act: Callable[[], object], times: int = 5) -> float:
    """Seconds of the fastest of some runs: what else the machine does can only add to a time."""
    return min(_once(act) for _ in range(times))


def _once(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def told(act: Callable[[], object]) -> str:
    """What one call gives, and the seconds that it took, in a line."""
    began = time.perf_counter()
    said = act()
    return f"{said}   ({time.perf_counter() - began:.1f} s)"


def outcome(act: Callable[..., object], *given: object) -> str:
    """What the call gives, or the error that it raises, in one line: for calls that are meant to fail now and then."""
    try:
        return str(act(*given))
    except Exception as broken:
        return f"{type(broken).__name__}: {(str(broken).splitlines() or [''])[0]}"


class Clock:
    """Counts the seconds in which this kernel runs cells: the machine's time, not the reader's."""

    def __init__(self) -> None:
        self.seconds, self._began = 0.0, time.perf_counter()
        if shell := get_ipython():
            shell.events.register("pre_run_cell", self._start)
            shell.events.register("post_run_cell", self._stop)

    def _start(self, *_: object) -> None:
        self._began = time.perf_counter()

    def _stop(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._began
