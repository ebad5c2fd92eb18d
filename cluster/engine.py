"""Calls docker, kind and kubectl, and says in two sentences what went wrong when one fails."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from typing import Any

from cluster.names import Names, kubeconfig, read_names, state
from grader.environ import child_environ
from grader.errors import LabError
from grader.processes import Completed, run

NO_ENGINE = "no container engine"
# how the engine says that a host port has another owner: a container, a process, either under Docker Desktop
PORT_TAKEN = ("port is already allocated", "address already in use", "ports are not available")


class ToolFailed(LabError):
    """`tool` ended with `code` (None: it ran past its limit); `said` is the end of its output."""

    def __init__(self, command: Sequence[str], done: Completed, remedy: str = "") -> None:
        how = f"ended with {done.code}" if done.code is not None else f"did not end within {done.seconds:.0f} s"
        self.tool, self.code, self.said = command[0], done.code, done.tail(6)
        super().__init__(f"`{' '.join(command)[:200]}` {how}: {self.said or 'it said nothing'}", remedy)


def environ() -> dict[str, str]:
    """As every child's, with the kit's kubeconfig and no other, and the kit's own tools first, where there are any.

    kind hands a proxy to the nodes, which could not ask it for the registry: that is spared. No KIND_*: those would
    give the cluster another name, network or engine than the rest of the kit looks for."""
    usual = child_environ(spared=(read_names().registry,))
    own = [str(state() / "bin")] if (state() / "bin").is_dir() else []
    path = os.pathsep.join([*own, usual["PATH"]])
    return {**usual, "PATH": path, "KUBECONFIG": str(kubeconfig()), "DOCKER_CLI_HINTS": "false"}


def call(
    *command: str, limit: float = 60, remedy: str = "", on_line: Callable[[str], None] | None = None, good: bool = True
) -> Completed:
    """Runs a tool to its end; raises ToolFailed unless it ended with 0 (or `good` is False)."""
    try:
        done = run(command, limit, env=environ(), on_line=on_line)
    except FileNotFoundError:
        if command[0] == "docker":
            raise no_engine("there is no `docker` on the PATH") from None
        raise LabError(f"There is no `{command[0]}` on the PATH.", "`./lab doctor` says how to add it.") from None
    if good and not done.ok:
        raise failed(command, done, remedy)
    return done


def failed(command: Sequence[str], done: Completed, remedy: str) -> LabError:
    """An engine that went away in the middle is said to have, whichever tool met it."""
    lost = [line for line in done.output.splitlines() if "cannot connect to the docker daemon" in line.lower()]
    return no_engine(lost[-1].strip()) if lost else ToolFailed(command, done, remedy)


def no_engine(why: str) -> LabError:
    return LabError(f"not run: {NO_ENGINE}: {why}.", "`./lab doctor` names the one command that adds it.")


def need_engine() -> None:
    """Raises unless a container engine answers. It may be up while it still loads, so it gets some seconds."""
    done = call("docker", "version", "--format", "{{.Server.Version}}", limit=20, good=False)
    if not done.ok:
        raise no_engine(done.tail(1) or "docker does not answer")


def docker(*words: str, limit: float = 60, good: bool = True) -> str:
    return call("docker", *words, limit=limit, good=good).stdout.strip()


def port_taken(output: str) -> str:
    """The address that the engine could not take for a container, as it says it; "" if that is not what went wrong."""
    end = max(output.lower().rfind(sign) for sign in PORT_TAKEN)
    if end < 0:
        return ""
    # the last one before that: kind also repeats the whole command, with all the addresses that were asked for
    found = re.findall(r"\b(?:\d+\.){3}\d+:\d+", output[:end])
    return str(found[-1]) if found else "a port"


def inspect(kind: str, name: str) -> dict[str, Any] | None:
    """What the engine knows of that container, image or network; None where there is none of that name."""
    done = call("docker", "inspect", f"--type={kind}", name, good=False)
    if not done.ok and "no such" not in done.output.lower():
        raise failed(("docker", "inspect", name), done, "`docker info` tells how the engine is.")
    return dict(json.loads(done.stdout)[0]) if done.ok else None


def kubectl(names: Names, *words: str, limit: float = 60, good: bool = True) -> Completed:
    """kubectl on the kit's cluster, whatever context the user has."""
    return call("kubectl", "--context", names.context, *words, limit=limit, good=good)


def kubectl_json(names: Names, *words: str) -> dict[str, Any]:
    return dict(json.loads(kubectl(names, *words, "-o", "json").stdout))
