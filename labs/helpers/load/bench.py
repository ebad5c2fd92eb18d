"""The learner's bench/ seen from lab 07: its rows, one setting served again, what the twin needs of it, the note."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from grader.errors import LabError
from grader.model import Facts
from grader.workspace import write_atomic
from grader.world.load import experiment, runs, table
from grader.world.load.metrics import RUNNERS
from labs.helpers.load import fit, law, twin

BENCH = Path("bench")
FILE = BENCH / "experiment.toml"
REFUSES = 0.01  # the share of 503s from which a row refuses people


def rows(where: str = "local") -> list[Facts]:
    """One row a setting that was measured there; says which of them the bench does not stand behind, and why."""
    found = [row for row in table.rows(BENCH) if row["where"] == where]
    for row in found:
        if row["verdict"] != "ok":
            print(f"{row['setting']} is refused: {row['why']}")
    return found


def letter(row: Facts) -> str:
    """Of question 07d: a batching off, b small batches, c large ones, d a budget that refuses."""
    if not row["batching"]:
        return "a"
    if row["share_503"] > REFUSES:
        return "d"
    return "b" if row["max_batch_size"] <= 8 else "c"


def best(found: Sequence[Facts]) -> Facts:
    """The row with the most good answers of those that refuse nobody."""
    return max((row for row in found if row["share_503"] <= REFUSES), key=lambda row: float(row["goodput"]))


def rate(row: Facts) -> float:
    """Answers a second, however they ended."""
    return float(row["goodput"] / (1 - row["share_503"] - row["share_504"] - row["share_other"]))


def gain(found: Sequence[Facts]) -> float:
    """How many times as many good answers the best of these rows gives as the one without batching."""
    off = next(row for row in found if not row["batching"])
    return float(best(found)["goodput"] / off["goodput"])


def compared(here: Sequence[Facts], there: Sequence[Facts]) -> str:
    """What batching gains on this machine and in a pod, a line each."""
    lines = []
    for where, found in (("on this machine", here), ("in the cluster", there)):
        if not found:
            lines.append(f"{where}: not measured")
            continue
        told = ", ".join(f"{row['setting']} {row['goodput']:.0f}" for row in found)
        lines.append(f"{where}: {told} good answers a second; batching gains {gain(found):.1f} times")
    return "\n".join(lines)


def law_rows(found: Sequence[Facts]) -> list[law.Row]:
    return [
        law.Row(f"yours: {row['setting']}", rate(row), row["p50_ms"], row["p95_ms"])
        for row in found
        if row["share_503"] <= REFUSES
    ]


def connections() -> int:
    """Calls that the API process may have open to a runner; BentoML's default is 16."""
    base = experiment.read(FILE).base
    return int(base.get("api_server", {}).get("max_runner_connections", 16))


def played_as(row: Facts) -> twin.Setting:
    """The row's setting for the twin."""
    size, budget = row["max_batch_size"] or 1, (row["max_latency_ms"] or 0) / 1000
    return twin.Setting(size, budget, connections(), bool(row["batching"]))


def observed(found: Sequence[Facts]) -> tuple[fit.Observed, fit.Observed]:
    """The two rows that the twin is fitted to: the largest batches that refuse nobody, and the most refused.

    Small batches hardly show what a text takes."""
    calm_ones = [row for row in found if row["batching"] and row["share_503"] <= REFUSES]
    if not calm_ones:
        raise LabError("Every row with batching refuses people.", "Add a setting with max_latency_ms = 10000.")
    large = max(calm_ones, key=lambda row: int(row["max_batch_size"]))
    short = max(found, key=lambda row: float(row["share_503"]))
    if short["share_503"] < 0.05:
        raise LabError("No row refuses anybody.", "Add a setting with a small max_latency_ms, and measure it.")
    calm, flooded = (fit.Observed(played_as(row), row["goodput"], rate(row)) for row in (large, short))
    return calm, flooded


def pair(machine: twin.Service, row: Facts) -> tuple[float, float]:
    """Good answers a second of that row: measured, and played."""
    return float(row["goodput"]), twin.play(machine, played_as(row)).goodput


def inside(row: Facts) -> dict[str, float]:
    """Requests in each process and in none of the others, on average over that row's runs."""
    found = [run.inside for run in runs.read_all(BENCH) if run.setting.name == row["setting"]]
    mean = {name: float(np.mean([one[name].mean() for one in found])) for name in ("api", *RUNNERS)}
    return {**mean, "api": mean["api"] - sum(mean[name] for name in RUNNERS)}


def told(counts: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {count:.1f}" for name, count in counts.items())


def write_note(found: Sequence[Facts], chosen: str, runner_up: str, why: str) -> str:
    """bench/note.toml: the names and the reason are the learner's, the figures the table's. Returns its text."""
    known = {row["setting"]: row for row in found}
    if unknown := [name for name in (chosen, runner_up) if name not in known]:
        raise LabError(f"The table has no setting {unknown[0]!r}; it has {', '.join(known)}.", "Name two of its rows.")
    text = f"why = '''{why}'''\n"
    for part, name in (("chosen", chosen), ("runner_up", runner_up)):
        text += f'\n[{part}]\nsetting = "{name}"\n'
        text += "".join(f"{key} = {known[name][key]}\n" for key in ("goodput", "p95_ms", "share_503"))
    write_atomic(BENCH / "note.toml", text.encode())
    return text
