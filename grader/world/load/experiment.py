"""Measures every setting of an experiment file, in an order that no drift favours, and goes on where it stopped."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from grader.errors import LabError
from grader.model import Facts
from grader.progress import Progress
from grader.world.load import closed, machine, runs, table
from grader.world.load.measure import Server, measure
from grader.world.load.servers import serving
from grader.world.load.settings import Setting

Say = Callable[[str], None]
KEYS = {"repeats", "seed", "base", "servers", "load", "setting"}
LEARNS = 4.0  # seconds of load, before the first run on a copy in the cluster


class BadExperiment(LabError):
    """The experiment file asks for something that cannot be measured: `path` is the file."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}", "The format is described at the top of grader/world/load/__init__.py.")
        self.path = path


@dataclass(frozen=True)
class Experiment:
    settings: tuple[Setting, ...]
    load: Facts  # {"users": 80, "seconds": 15} or {"rate": 120, "seconds": 15}
    repeats: int
    seed: int
    base: Facts  # the configuration that a setting changes
    service: Path
    store: Path
    kept: bool  # one server a setting, for all its repeats

    def plan(self) -> list[tuple[int, Setting]]:
        """(repeat, setting), round by round; each round has an order of its own, which the seed decides."""
        chance = random.Random(self.seed)
        rounds = [(number, chance.sample(self.settings, len(self.settings))) for number in range(1, self.repeats + 1)]
        return [(number, setting) for number, order in rounds for setting in order]


def read(path: Path) -> Experiment:
    """Reads and checks an experiment file; what it names lies in the workspace, the folder above bench/."""
    try:
        asked = tomllib.loads(path.read_text())
        if unknown := set(asked) - KEYS:
            raise ValueError(f"nothing is called {', '.join(sorted(unknown))} here; known: {', '.join(sorted(KEYS))}")
        settings = tuple(Setting.read(one) for one in asked["setting"])
        load = {"seconds": 15, **asked["load"]}
        if not (set(load) in ({"users", "seconds"}, {"rate", "seconds"}) and load["seconds"] >= 5):
            raise ValueError("[load] has `users` or `rate`, and `seconds`, at least 5")
        if len({s.name for s in settings}) < len(settings):
            raise ValueError("two settings have one name")
        work = path.absolute().parent.parent
        base = yaml.safe_load((work / asked.get("base", "service/bentoml_configuration.yml")).read_text())
    except (OSError, KeyError, TypeError, ValueError, yaml.YAMLError) as wrong:
        raise BadExperiment(
            path, f"there is no {wrong.args[0]} in it" if isinstance(wrong, KeyError) else str(wrong)
        ) from wrong
    kept = asked.get("servers", "kept") == "kept"
    return Experiment(
        settings,
        load,
        int(asked.get("repeats", 3)),
        int(asked.get("seed", 1)),
        base,
        work / "service",
        work / "store",
        kept,
    )


def run(file: Path, bench: Path, say: Say = print, workspace: str = "") -> list[Facts]:
    """Measures what is not measured yet, makes bench/table.csv, and returns its rows. What the machine spoilt is put
    away into bench/refused/ and measured once more. `workspace`: whose copies in the cluster."""
    experiment = read(file)
    with Servers(experiment, workspace) as servers:
        for again in (False, True):
            todo = [(n, s) for n, s in experiment.plan() if wanted(experiment, bench, n, s)]
            for done, (repeat, setting) in enumerate(todo, 1):
                began, folder = time.monotonic(), folder_of(bench, setting, repeat)
                order = experiment.plan().index((repeat, setting)) + 1000 * again
                with Progress(f"{done} of {len(todo)}: {folder.name}"):
                    found = measure(servers.get(setting), experiment.load, repeat, order, folder)
                say(told(found, done, len(todo), time.monotonic() - began))
            if again or not (put_away := refuse(experiment, bench)):
                break
            say(f"measured once more, since the machine was busy or unsteady: {', '.join(put_away)}")
    return table.write(bench)


def told(found: runs.Run, done: int, count: int, seconds: float) -> str:
    seen = found.summary
    ends = f"{seen.goodput:.0f} answers a second, p95 {seen.p95_ms:.0f} ms, {seen.share_503:.0%} refused"
    problem = next((f": {p.text}" for p in found.problems()), "")
    return f"{done} of {count}: {found.name}: {ends} ({seconds:.0f} s){problem}"


def folder_of(bench: Path, setting: Setting, repeat: int) -> Path:
    return bench / "runs" / f"{setting.name}-{repeat}"


def wanted(experiment: Experiment, bench: Path, repeat: int, setting: Setting) -> bool:
    """Whether that run is still to be made: it is missing, half made, of another experiment, or of another machine."""
    try:
        facts = json.loads((folder_of(bench, setting, repeat) / "run.json").read_text())
        return bool(
            facts["setting"] != setting.facts()
            or facts["load"] != experiment.load
            or facts["machine"] != machine.facts()
        )
    except (OSError, ValueError, KeyError):
        return True


def refuse(experiment: Experiment, bench: Path) -> list[str]:
    """Puts away the runs of settings whose rows are refused since the machine was busy, or were not steady; returns
    their names. Where that is most settings another try would not help, and all stays."""
    all_runs = runs.read_all(bench)
    good = table.goodputs(all_runs)
    spoilt = []
    for setting in experiment.settings:
        group = [run for run in all_runs if run.setting.name == setting.name]
        shared = table.group_problems(group, good) if group else []
        problems = [*shared, *(p for run in group for p in run.problems())]
        spoilt += [group] if any(p.kind in ("machine", "figures") for p in problems) else []
    if len(spoilt) > len(experiment.settings) / 2:
        return []
    for run in [run for group in spoilt for run in group]:
        kept = bench / "refused" / run.name
        shutil.rmtree(kept, ignore_errors=True)
        kept.parent.mkdir(exist_ok=True)
        run.folder.replace(kept)
    return [run.name for group in spoilt for run in group]


class Servers:
    """The servers of an experiment: one a setting for all its repeats, or one a run; or copies in the cluster, which
    somebody has rolled out."""

    def __init__(self, experiment: Experiment, workspace: str = "") -> None:
        self.experiment, self.running, self.workspace = experiment, dict[str, Server](), workspace
        self.stack = contextlib.ExitStack()

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def get(self, setting: Setting) -> Server:
        wanted = self.experiment
        if setting.where == "cluster":
            return self.find_copy(setting)
        if not wanted.kept:
            self.stack.close()
            self.running.clear()
        if setting.name not in self.running:
            server = serving(setting, wanted.base, wanted.service, wanted.store)
            self.running[setting.name] = self.stack.enter_context(server)
        return self.running[setting.name]

    def find_copy(self, setting: Setting) -> Server:
        """The copy whose turn it is now; the first time its dispatchers learn before it is measured."""
        from cluster.names import read_names
        from grader.world.load.copies import find

        names = read_names()
        url = f"http://127.0.0.1:{names.host_port(names.bench_port(self.workspace))}"
        found = find(names.bench(self.workspace), setting, url)
        if setting.name not in self.running:
            closed.run(url, int(self.experiment.load.get("users", 40)), LEARNS, first=700_000_000)
        self.running[setting.name] = found
        return found
