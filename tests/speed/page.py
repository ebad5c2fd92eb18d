"""docs/kit.md, made of the run files in docs/kit/runs/: no figure in it is typed but the goals."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from grader.kit import Kit
from speed.measures import all_measures

PAGE, RUNS = "docs/kit.md", "docs/kit/runs"
# Seconds that the kit has set itself, on a machine of two cores.
GOALS = {"sc1": 8, "sc2": 15, "sc3": 8, "sc1-again": 5, "sc3-again": 5, "sc7": 60, "walk": 26 * 60, "unchanged": 6 * 60}
Run = dict[str, Any]

HEAD = """# How fast the kit is

`./lab bench kit` measures it, for work on the kit: commands as a person types them, in random order, several times
each. A **yardstick** is measured in the same minutes, since machines differ: a fresh process that imports torch and
sentence-transformers, loads MiniLM and encodes 1,000 texts. A time in yardsticks can be compared between machines.
`./lab bench kit --page` makes this page of the run files."""


def to_page(runs: Sequence[Run]) -> str:
    """Of each measure its newest run; then all runs, the oldest first. Pure: the same runs give the same page."""
    names = [name for name in all_measures(Kit()) if any(name in run["measures"] for run in runs)]
    parts = [HEAD, "\n".join(newest(names, runs))]
    if any("of" in run for run in runs):
        parts.append("\n".join(beside(names, [run for run in runs if "of" in run][-1])))
    return "\n\n".join([*parts, "\n".join(history(names, runs)), "\n".join(where(runs))]) + "\n"


def newest(names: Sequence[str], runs: Sequence[Run]) -> list[str]:
    known = all_measures(Kit())
    lines = [
        "| what | seconds: median, least to most | in yardsticks | goal, seconds | measured |",
        "|---|---|---|---|---|",
    ]
    for name in names:
        run = [run for run in runs if name in run["measures"]][-1]
        cells = [known[name].what, spread(run["measures"][name]), in_yardsticks(run, run["measures"][name])]
        lines.append(f"| {' | '.join([*cells, str(GOALS.get(name, '')), run['made'][:10]])} |")
    return lines


def spread(measure: dict[str, list[float]]) -> str:
    taken = measure["seconds"]
    form = "{:.2f}" if max(taken) < 2 else "{:.1f}" if max(taken) < 100 else "{:.0f}"
    told = form.format(median(taken))
    return told if len(taken) == 1 else f"{told}, {form.format(min(taken))} to {form.format(max(taken))}"


def in_yardsticks(run: Run, measure: dict[str, list[float]]) -> str:
    return f"{median(measure['seconds']) / median(run['yardstick']):.2f}"


def beside(names: Sequence[str], run: Run) -> list[str]:
    """What another checkout took in the same rounds."""
    lines = [f"## Beside {run['of']['commit']}, in the same rounds ({run['made'][:10]})", ""]
    lines += [f"| what | {run['of']['commit']}, seconds | {run['commit']}, seconds | of it |", "|---|---|---|---|"]
    for name in (name for name in names if name in run["of"]["measures"] and name in run["measures"]):
        before, after = run["of"]["measures"][name], run["measures"][name]
        share = median(after["seconds"]) / median(before["seconds"])
        lines.append(f"| {all_measures(Kit())[name].what} | {spread(before)} | {spread(after)} | {share:.0%} |")
    return lines


def history(names: Sequence[str], runs: Sequence[Run]) -> list[str]:
    """In yardsticks: a row a run."""
    lines = ["## Each run, in yardsticks", "", f"| made | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for run in runs:
        cells = [in_yardsticks(run, run["measures"][n]) if n in run["measures"] else "" for n in names]
        lines.append(f"| {run['made'][:16].replace('T', ' ')} | {' | '.join(cells)} |")
    return lines


def where(runs: Sequence[Run]) -> list[str]:
    lines = ["## Where and when", ""]
    for run in runs:
        here = run["machine"]
        what = f"{here['cpus']} cores ({here['cpu']}), {here['memory_gib']} GiB, Python {here['python']}"
        rounds = f"rounds: {run['rounds']}, load before them {run['load']}"
        yard = f"yardstick {spread({'seconds': run['yardstick']})} s"
        lines.append(f"- {run['made']} to {run['ended']}, commit {run['commit']}, {rounds}; {yard}; {what}.")
        lines += [f"  - not measured: `{name}`: {why}" for name, why in run["not_measured"].items()]
    return lines
