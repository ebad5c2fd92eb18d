"""The outer end of a box that is a container (`python -I carrier.py SPEC`): starts it, hands it what it inherits.

Nothing is inherited through a container engine, so the open files of the command go in over a socket in a folder that
the container sees; the engine's `--interactive` is the lifeline: when we are gone, by whatever signal, the container's
standard input ends, and with it the first process in there (box.py). SPEC: `engine` (the words that start a container,
up to the image), `image`, `inner` (the command in it), `box` (box.py's own spec), `folder` (ours alone).
"""

import array
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

PATIENCE = 60.0  # seconds until the container has to ask for its files


def main(spec: dict[str, Any]) -> int:
    box = spec["box"]
    fds = [*box["fds"], *([box["listener"]] if box["listener"] is not None else [])]
    box["environ"] |= {name: value for name, value in os.environ.items() if name == spec["mark"]}
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(box["door"])
        Path(box["door"]).chmod(0o666)  # the folder is ours alone; in the container it is all of it that can be seen
        door.listen(1)
        door.settimeout(0.2)
        command = [*spec["engine"], spec["image"], *spec["inner"], json.dumps(box)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE)
        hand_over(door, fds, process)
    Path(box["door"]).unlink(missing_ok=True)
    return process.wait()


def hand_over(door: socket.socket, fds: list[int], process: subprocess.Popen[bytes]) -> None:
    """Sends the open files to the first who asks, if the container comes so far."""
    for _ in range(int(PATIENCE / 0.2)):
        if process.poll() is not None:
            return
        try:
            asker, _ = door.accept()
        except TimeoutError:
            continue
        with asker:
            asker.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else [])
        return


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
