"""Reaps whoever carries a mark once its owner is gone: `python -m grader.guard MARK`.

Standard input is a pipe that only the owner holds open. It closes when the owner ends, even by SIGKILL.
"""

import signal
import sys

from grader.processes import reap


def main(mark: str) -> None:
    # Ctrl-C reaches the whole terminal; the guard must outlive it to do its work.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.stdin.read()
    reap(mark)


if __name__ == "__main__":
    main(*sys.argv[1:])
