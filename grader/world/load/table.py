"""bench/table.csv: one row a setting, computed from the run folders, by the learner's notebook and by the grader."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from grader.model import Facts
from grader.workspace import write_atomic
from grader.world.load import noise, runs
from grader.world.load.runs import Problem, Run

COLUMNS = (
    "setting", "where", "batching", "max_batch_size", "max_latency_ms", "users", "rate", "seconds", "repeats",
    "goodput", "goodput_min", "goodput_max", "p50_ms", "p95_ms", "p99_ms", "share_503", "share_504", "share_other",
    "mean_ms", "in_flight", "little", "mean_batch", "sender_cpu", "others_cpu", "warmup_s", "noise", "verdict", "why",
    "cpus", "memory_gib", "cpu", "bentoml", "machine",
)  # fmt: skip
REPEATS = 2  # fewer say nothing of noise
TOO_NOISY = 0.15  # a machine whose repeats deviate by more tells no two settings apart


def rows(bench: Path) -> list[Facts]:
    """One row a setting, of all complete runs; figures are rounded as in the file."""
    return of(runs.read_all(bench))


def of(all_runs: Sequence[Run]) -> list[Facts]:
    good = goodputs(all_runs)
    return [row([run for run in all_runs if run.setting.name == name], good) for name in sorted(good)]


def goodputs(all_runs: Sequence[Run]) -> dict[str, list[float]]:
    """Answers with 200 a second, of each setting's repeats."""
    groups: dict[str, list[float]] = {}
    for run in all_runs:
        groups.setdefault(run.setting.name, []).append(run.summary.goodput)
    return groups


def row(group: Sequence[Run], good: Mapping[str, Sequence[float]]) -> Facts:
    """The medians of a setting's repeats, and whether they may be used."""
    first, seen = group[0], [run.summary for run in group]
    problems = [*(p for run in group for p in run.problems()), *group_problems(group, good)]
    batch = [b for run in group if (b := run.mean_batch) is not None]
    made = {
        **{key: first.setting.facts()[key] for key in ("where", "batching", "max_batch_size", "max_latency_ms")},
        "setting": first.setting.name,
        **{key: first.load.get(key) for key in ("users", "rate", "seconds")},
        "repeats": len(group),
        **{key: middle(getattr(s, key) for s in seen) for key in ("goodput", "p50_ms", "p95_ms", "p99_ms", "mean_ms")},
        **{key: middle((getattr(s, key) for s in seen), 4) for key in ("share_503", "share_504", "share_other")},
        "goodput_min": round(min(s.goodput for s in seen), 2),
        "goodput_max": round(max(s.goodput for s in seen), 2),
        "in_flight": middle(run.in_flight for run in group),
        "little": middle((run.little for run in group), 4),
        "mean_batch": round(median(batch), 2) if batch else None,
        "sender_cpu": middle((run.log.sender["cpu"] for run in group), 3),
        "others_cpu": middle((run.facts["cpu"]["others"] for run in group), 2),
        "warmup_s": middle(run.begin or 0.0 for run in group),
        "noise": round(noise.spread(good[first.setting.name]), 4),
        "verdict": "refused" if problems else "ok",
        "why": problems[0].text if problems else "",
        **{key: first.facts["machine"][key] for key in ("cpus", "memory_gib", "cpu", "bentoml", "machine")},
    }
    if not first.setting.batching:
        made |= {"max_batch_size": None, "max_latency_ms": None}
    return {key: made[key] for key in COLUMNS}


def group_problems(group: Sequence[Run], good: Mapping[str, Sequence[float]]) -> list[Problem]:
    """What only repeats, and the other settings beside them, can show."""
    name, found = group[0].setting.name, []
    if len(group) < REPEATS:
        found.append(Problem("figures", "measured once: nobody knows how far a second time would differ"))
    if len({run.setting.key() for run in group}) > 1 or len({str(run.load) for run in group}) > 1:
        found.append(Problem("figures", "its repeats are of different settings or loads"))
    if (least := noise.without_the_worst(good)) > TOO_NOISY:
        found.append(Problem("machine", f"on this machine repeats of one setting deviate by {least:.0%} now"))
    answers = min(run.summary.goodput * run.summary.seconds for run in group)
    if noise.disagree(good, name, answers):
        others = noise.of(good, without=name)
        used = max(run.facts["cpu"]["others"] for run in group)
        text = f"its repeats differ by {noise.spread(good[name]):.0%}, the other settings' by {others:.1%} on average; "
        text += f"other programs used up to {used:.1f} of {group[0].facts['machine']['cpus']} cores"
        found.append(Problem("machine", text))
    return found


def middle(values: object, digits: int = 2) -> float | None:
    """The median, rounded; None where there is no figure (nothing was answered)."""
    found = [float(v) for v in values if not math.isnan(v)]  # type: ignore[attr-defined]
    return round(median(found), digits) if found else None


def write(bench: Path) -> list[Facts]:
    """Makes table.csv of the run folders; returns its rows."""
    made, out = rows(bench), io.StringIO()
    file = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    file.writeheader()
    file.writerows(made)
    write_atomic(bench / "table.csv", out.getvalue().encode())
    return made
