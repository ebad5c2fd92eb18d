"""Which addresses a load may go to: a process or a node port of this machine, never `kubectl port-forward`."""

from __future__ import annotations

import contextlib
from urllib.parse import urlsplit

import psutil

from grader.errors import LabError


class RefusedTarget(LabError):
    """`url` is no place to measure."""

    def __init__(self, url: str, problem: str, remedy: str) -> None:
        super().__init__(problem, remedy)
        self.url = url


def check(url: str) -> None:
    """Raises RefusedTarget unless the URL is a port of 127.0.0.1 that no port-forward holds."""
    parts = urlsplit(url)
    if parts.hostname != "127.0.0.1" or not parts.port:
        raise RefusedTarget(
            url, f"A load goes to a port of 127.0.0.1, not to {url}.", "Start the server on this machine."
        )
    if forward := port_forward(parts.port):
        raise RefusedTarget(
            url,
            f"Port {parts.port} belongs to `kubectl port-forward` (process {forward.pid}), which breaks under load.",
            "Measure through the Service's node port.",
        )


def port_forward(port: int) -> psutil.Process | None:
    """The process `kubectl port-forward` that listens there. Asks those processes alone: macOS shows no others."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if "port-forward" in process.cmdline() and any(
                c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in process.net_connections("tcp")
            ):
                return process
    return None
