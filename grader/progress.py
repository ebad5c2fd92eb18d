"""Says at least every five seconds that long work goes on, with the time it has taken."""

import sys
import threading
import time
from types import TracebackType


class Progress:
    """`with Progress("01 save two models") as p: p.note("cell 3 of 31")`; writes to standard error."""

    def __init__(self, label: str, beat: float = 5.0) -> None:
        self.label, self.detail, self.beat = label, "", beat
        self.began = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True)
        self._live = sys.stderr.isatty()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def note(self, detail: str) -> None:
        self.detail = detail
        if self._live:
            self._write("\r", "\033[K")

    def _tick(self) -> None:
        while not self._stop.wait(1.0 if self._live else self.beat):
            self._write("\r" if self._live else "", "\033[K" if self._live else "\n")

    def _write(self, start: str, end: str) -> None:
        detail = f": {self.detail}" if self.detail else ""
        print(f"{start}  [{self.seconds:4.0f}s] {self.label}{detail}", end=end, file=sys.stderr, flush=True)

    def __enter__(self) -> "Progress":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self._stop.set()
        self.detail = "done" if kind is None else "stopped"
        self._write("\r" if self._live else "", "\033[K\n" if self._live else "\n")
