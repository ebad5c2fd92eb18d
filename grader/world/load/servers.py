"""A server with one setting, and what its own processes say of it."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from grader.errors import LabError
from grader.model import Facts
from grader.processes import carriers
from grader.workspace import copy_tree
from grader.world.load.settings import Setting
from grader.world.servers import Served, served

WITNESS = "labwitness"
LARGEST = 16 << 20


class NotServed(LabError):
    """The service did not start with that setting: `log` is the end of what it printed."""

    def __init__(self, setting: Setting, problem: str, log: str) -> None:
        super().__init__(f"With the setting {setting.name}, {problem}. The end of its log:\n{log}")
        self.setting, self.log = setting, log


@dataclass(frozen=True)
class Measured:
    """A running server. `configuration` is the text of the file that BENTOML_CONFIG names."""

    setting: Setting
    served: Served
    configuration: str

    @property
    def url(self) -> str:
        return self.served.url

    def cpu_seconds(self) -> float:
        """What all its processes have used so far."""
        used = 0.0
        for process in carriers(self.served.mark):
            with contextlib.suppress(psutil.Error):
                used += sum(process.cpu_times()[:2])
        return used

    def witnesses(self) -> list[Facts]:
        """What holds in each worker process (witness.py); `states`: what its dispatchers had learnt, and when."""
        return [read_witness(path) for path in sorted((self.served.home / "witness").glob("*.jsonl"))]


def read_witness(path: Path) -> Facts:
    """Data of the learner's own processes: read, never run."""
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path.name} has more than {LARGEST >> 20} MiB")
    return parse_witness(path.read_text())


def parse_witness(text: str) -> Facts:
    lines = text.splitlines()
    # the last line may be half written
    whole = [line for line in lines if line.endswith("}")]
    first, *states = [json.loads(line) for line in whole]
    return {**first, "states": states}


@contextlib.contextmanager
def serving(setting: Setting, base: Facts, service: Path, store: Path) -> Iterator[Measured]:
    """Serves a copy of the folder `service` with that setting: a free port of 127.0.0.1, a BENTOML_HOME of its own, its
    models from `store`. Raises NotServed when it does not get ready."""
    with configured(setting, setting.configuration(base), service, store) as server:
        yield server


@contextlib.contextmanager
def configured(setting: Setting, config: Facts, service: Path, store: Path) -> Iterator[Measured]:
    """The same with a whole configuration, which may be another than the setting's."""
    with tempfile.TemporaryDirectory(prefix="measured-", ignore_cleanup_errors=True) as folder:
        project = Path(folder) / "project"
        copy_tree(service, project)
        (project / f"{WITNESS}.py").write_bytes(Path(__file__).with_name("witness.py").read_bytes())
        with served(project, store, f"{WITNESS}:svc", config=config, in_place=True) as server:
            if server.problem:
                raise NotServed(setting, server.problem, server.log())
            yield Measured(setting, server, (server.home / "configuration.yml").read_text())
