"""Ends a node that Docker cannot kill. Control groups of version 1 only; the module goes when nobody has them any more.

runc holds a container frozen for a moment while it changes what that may do. A node that is killed in such a moment
keeps the frozen process, which the kernel does not kill before it is thawed. So the node never ends, and Docker and
kind say "did not receive an exit event" at each attempt to remove it (seen when an `up` was interrupted, Docker 20.10).
"""

from __future__ import annotations

from cluster.engine import docker, inspect

SIGN = "did not receive an exit event"
# Only groups below the container's own; $1 is its id.
THAW = (
    'find /freezer -path "*$1*" -name freezer.state | while read -r f; do'
    ' grep -q THAWED "$f" || echo THAWED >"$f"; done'
)


def thaw(container: str) -> None:
    """Lets all that runs in that container go on, so that it can be killed. The control groups are the engine's
    machine's, so it is done by a container there, of the node's own image."""
    if about := inspect("container", container):
        where = ["--privileged", "--network=none", "--volume=/sys/fs/cgroup/freezer:/freezer", "--entrypoint=sh"]
        docker("run", "--rm", *where, about["Image"], "-c", THAW, "sh", about["Id"], good=False)
