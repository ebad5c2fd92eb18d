"""sc6: batching off and at least three settings, compared under one load, by figures that anybody can compute again.

The first probe reads bench/ and computes every row from the run folders; it runs nothing of the submission. The second
measures one row again, drawn by lot, with batching off beside it, and compares how much better the one is.
"""

from __future__ import annotations

import contextlib
import csv
import json
import math
import random
import re
import shutil
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import yaml

from cluster.names import IMAGE, NAMESPACE, kubeconfig, read_names
from grader.errors import LabError
from grader.kit import check, probe
from grader.model import Facts, Finding
from grader.world.load import machine, measure, noise, runs, table
from grader.world.load.copies import Copy, rolled_out
from grader.world.load.log import read_requests, write_requests
from grader.world.load.metrics import RUNNERS, TOTAL, by_status, mean_batch
from grader.world.load.runs import Run, text
from grader.world.load.servers import NotServed, configured, serving
from grader.world.load.settings import Setting
from grader.world.load.summary import summarise
from grader.world.metrics import fetch
from grader.world.objects import get, kubectl

SETTINGS = 3  # with batching
REPEATS = 3
NOTED = ("goodput", "p95_ms", "share_503")
EXACT = 0.01  # a table's figure is the computed one, but for rounding
SAME_MS = 0.1  # waits closer than this are one wait
ROUND = 0.02  # a note's may be rounded further
TURNS = (0, 1, 1, 0, 0, 1)  # which of two settings is loaded: a-b-b-a-a-b, so that neither has the better hour
SECONDS = 6  # of each load of the grader's own, three times each setting
LEAST = 0.10  # ratios closer than this are not told apart
HANDED = 4  # seconds of load on the configuration that is handed over
REFUSED = 0.05  # a setting that refuses so much more is not the better one for those whom it answers
MORE = 0.10  # by so much more of the answers may be no 200 than the table says
TIGHT = 0.02  # a row that loses more than this, or has waits above half its budget, loses more in a slower minute
COMPANY = 1 / 4  # of a request's company in its batch, by the row, it has in what is handed over at least
APART = 1.0  # hours in which a machine's speed may change, and a ratio of two runs with it
DEFAULT = 16  # connections to a runner, where a configuration has no number of its own: half compute, half wait
MOST = 0.50  # a machine on which only larger differences than this can be told cannot tell
ENDS = {"share_503": "503", "share_504": "504", "share_other": "others"}
BUSY = "Grade sc6 again when this machine is quieter."


@probe(limit=60, ahead=True)
def bench(ws: Any) -> Facts:
    """What lies in bench/, and what its run folders say."""
    folder = ws.root / "bench"
    return {
        "table": read_table(folder / "table.csv"),
        "note": read_note(folder / "note.toml"),
        **read_runs(folder),
        "here": machine.facts(),
    }


def read_table(path: Path) -> Facts:
    try:
        lines = text(path).removeprefix("\ufeff").splitlines()  # a spreadsheet's mark, as are lines of commas
        rows = [row for row in csv.DictReader(lines, restval="") if any(row.values())]
    except (OSError, ValueError, csv.Error) as wrong:
        return {"problem": f"{type(wrong).__name__}: {wrong}", "rows": []}
    missing = [c for c in table.COLUMNS if rows and c not in rows[0]]
    return {"problem": f"it has no column {missing[0]}" if missing else "", "rows": rows[:1000]}


def read_note(path: Path) -> Facts:
    try:
        note = tomllib.loads(text(path))
    except (OSError, ValueError, RecursionError) as wrong:
        return {"problem": f"{type(wrong).__name__}: {wrong}"}
    for part in note.values():
        if isinstance(part, dict) and "setting" in part:
            part["setting"] = str(part["setting"])  # a name of figures may stand without quotes
    return {**note, "problem": ""}


def read_runs(folder: Path) -> Facts:
    """Of each run what it is and what is wrong with it, and the rows that all of them make."""
    try:
        found = runs.read_all(folder)
        return {"problem": copied(found), "runs": [run_facts(run) for run in found], "rows": table.of(found)}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as wrong:
        return {"problem": f"{type(wrong).__name__}: {wrong}"[:300], "runs": [], "rows": []}


def copied(found: list[Run]) -> str:
    """Two repeats that have a page or their waits in common, or nothing: no load gives one of these twice."""
    seen: dict[tuple[str, str], str] = {}
    for run in found:
        for page in ("requests.csv", "inflight.csv"):
            name = seen.setdefault((run.setting.name, text(run.folder / page)), run.name)
            if name != run.name:
                return f"{run.name} has the {page} of {name}; a copy is no repeat"
    for one, other in combinations(found, 2):
        if one.setting.name == other.setting.name and has_waits_of(one, other):
            return f"{other.name} has the waits of {one.name}, one after the other; a copy is no repeat"
    return ""


def has_waits_of(one: Run, other: Run) -> bool:
    """Whether most requests, in the order in which they ended, waited as long in both, to a tenth of a millisecond: so
    does a log whose times were moved. Of honest repeats it is one request in hundreds."""
    waits = []
    for run in (one, other):
        ended = run.log.column("ended")
        waits.append((ended - run.log.column("scheduled"))[np.argsort(ended, kind="stable")])
    count = min(map(len, waits))
    return bool(np.mean(np.abs(waits[0][:count] - waits[1][:count]) < SAME_MS / 1000) > 0.5)


def run_facts(run: Run) -> Facts:
    return {
        "name": run.name,
        "setting": run.setting.name,
        "key": list(run.setting.key()),  # begins with where it was measured
        "load": run.load,
        "machine": run.facts["machine"],
        "problems": [list(problem) for problem in run.problems()],
    }


@probe(limit=240)
def repeat(ws: Any) -> Facts:
    """One row drawn by lot and batching off, where both were measured, in turn, three times each: about 60 s, 90 in the
    cluster. Where these repeats differ too much, three times more: 50 s. An error where the machine cannot tell;
    nothing at all where the files already show what is wrong."""
    seen = bench.look(ws)
    if wrong := next((f.message for judge in FILES if not (f := judge.judge(seen)).ok), ""):
        return {"skipped": wrong}
    if refused := next((row for row in seen["rows"] if row["verdict"] != "ok"), None):
        command = "lab bench cluster" if refused["where"] == "cluster" else "lab bench quick"
        why = f"The row {refused['setting']} is refused, and not by your doing: {refused['why']}."
        raise LabError(why, f"When this machine is quieter, `{command}` measures that row again; then grade sc6.")
    where = random.choice(places(seen["rows"]))
    rows = {row["setting"]: row for row in seen["rows"] if row["where"] == where}
    off = next(row for row in rows.values() if not row["batching"])
    on = [name for name, row in rows.items() if row["batching"]]
    # How many a tight budget refuses hangs on the speed of the minute, so such a row is drawn only if need be.
    drawn = rows[random.choice([name for name in on if rows[name]["share_503"] < 0.02] or on)]
    theirs = [run for run in runs.read_all(ws.root / "bench") if run.setting.name in (off["setting"], drawn["setting"])]
    load = {**theirs[0].load, "seconds": SECONDS}
    both = list({run.setting.name: run for run in theirs}.values())
    if where == "local":
        mine = measure_again(ws, both, load)
    elif source := copied_from(ws, theirs):
        mine = measure_copies(source, both, load)
    else:
        return {"skipped": "Rows say cluster, and there is no Deployment of lab 05 to copy: kubectl apply -k deploy."}
    return {**compare(drawn["setting"], off["setting"], theirs, mine), "where": where}


@probe(limit=100)
def handed(ws: Any) -> Facts:
    """What the configuration does that the learner hands over: served here, and asked as in the table's rows; 15 s."""
    seen = bench.look(ws)
    if wrong := next((f.message for judge in FILES if not (f := judge.judge(seen)).ok), ""):
        return {"skipped": wrong}
    row = next(row for row in seen["rows"] if row["setting"] == seen["note"]["chosen"]["setting"])
    limits = {key: row[key] for key in ("max_batch_size", "max_latency_ms") if row["batching"]}
    chosen = Setting(row["setting"], row["batching"], **limits)
    told: Facts = {"problem": "", "chosen": chosen.name, "wanted": chosen.block(), **least_of(row)}
    try:
        config = read_handed(ws.root / "bench" / "chosen.yml")
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as wrong:
        return {**told, "problem": f"{type(wrong).__name__}: {wrong}"[:300]}
    try:
        return {**told, **serve_handed(ws, chosen, config, row)}
    except NotServed as failed:
        return {**told, "problem": str(failed)}


def least_of(row: Facts) -> Facts:
    """What people get at least from what does as that row: its share of 200s, and so many requests a batch. Near its
    budget a row hangs on the speed of the minute: there a third of the 200s is enough, and batches are not counted."""
    good = 1 - lost(row)
    is_tight = row["batching"] and (1 - good >= TIGHT or 2 * (row["p99_ms"] or math.inf) > row["max_latency_ms"])
    batch = row["mean_batch"] or 0.0
    is_counted = row["users"] and batch > 1.9 and not is_tight  # at a rate, as many come together as the minute makes
    least = 1 + COMPANY * (min(batch, DEFAULT) - 1) if is_counted else 0.0
    return {"least_good": round(good / 3 if is_tight else good - MORE, 3), "least_batch": round(least, 2)}


def lost(seen: Facts) -> float:
    return float(seen["share_503"] + seen["share_504"] + seen["share_other"])


def read_handed(path: Path) -> Facts:
    config = yaml.safe_load(text(path))
    if not isinstance(config, dict):
        raise ValueError("it is no configuration")
    return config


def serve_handed(ws: Any, chosen: Setting, config: Facts, row: Facts) -> Facts:
    """Under the row's load, for a few seconds."""
    load = {key: row[key] for key in ("users", "rate") if row[key]}
    with configured(chosen, config, ws.service, ws.store) as server:
        before = page_of(server.url)
        seen = asdict(summarise(measure.send(server.url, {**load, "seconds": HANDED}, 0)))
        batch = mean_batch(before, page_of(server.url))
        witnesses = {w["role"]: w["batching"].get(w["role"], {}) for w in server.witnesses()}
    batching = {role: {k: witnesses.get(role, {}).get(k) for k in chosen.block()} for role in RUNNERS}
    shares = {key: round(seen[key], 3) for key in ("share_503", "share_504", "share_other")}
    return {"batching": batching, **shares, "mean_batch": round(batch or 0.0, 2)}


def page_of(url: str) -> str:
    """/metrics; nothing where the configuration switched it off."""
    try:
        return fetch(url)
    except httpx.HTTPStatusError:
        return ""


def places(rows: list[Facts]) -> list[str]:
    """Where rows were measured that can be measured again there: those of a cluster need one that answers."""
    found = sorted({row["where"] for row in rows if row["batching"]})
    if "cluster" in found and not (kubeconfig().is_file() and cluster_answers()):
        found.remove("cluster")
    if not found:
        raise LabError("All rows were measured in a cluster, and there is none that answers.", "`./lab cluster up`.")
    return found


def cluster_answers() -> bool:
    try:
        return kubectl("get", "nodes", "--request-timeout=5s").ok
    except LabError:
        return False


def copied_from(ws: Any, theirs: list[Run]) -> str:
    """The namespace whose Deployment was copied: the workspace's own, or for a copy of a workspace the one it names."""
    named = [w["place"]["namespace"].removesuffix("-bench") for run in theirs for w in run.facts["witnesses"]]
    known = [read_names().namespace(ws.name), *(n for n in named[:1] if n.startswith(NAMESPACE))]
    return next((n for n in known if get(n, "deployment", IMAGE)), "")


def measure_again(ws: Any, theirs: list[Run], load: Facts) -> list[Run]:
    """Both settings on servers of this machine, each with its run's configuration."""
    with contextlib.ExitStack() as stack:
        bases = [(run.setting, yaml.safe_load(run.configuration)) for run in theirs]
        servers = [stack.enter_context(serving(setting, base, ws.service, ws.store)) for setting, base in bases]
        return measure_in_turn(servers, load, theirs)


def measure_copies(source: str, theirs: list[Run], load: Facts) -> list[Run]:
    """Both settings on copies of the Deployment in that namespace, rolled out for this and removed again."""
    with rolled_out(source, [(run.setting, run.configuration) for run in theirs]) as copies:
        return measure_in_turn(copies, load, theirs)


def measure_in_turn(servers: Sequence[measure.Server], load: Facts, theirs: list[Run]) -> list[Run]:
    """A round of loads; and a second one where these repeats differ so much that nothing can be told."""
    made: list[Run] = []
    with tempfile.TemporaryDirectory() as folder:
        for order, which in enumerate(TURNS * 2):
            if order == len(TURNS) and not is_unsteady(table.goodputs(theirs), table.goodputs(made)):
                break
            server = servers[which]
            if isinstance(server, Copy):
                server.take_turn()
            place = Path(folder) / f"{server.setting.name}-{order}"
            made.append(measure.measure(server, load, 2 + order, 500 + order, place))
    return made


def compare(drawn: str, off: str, their_runs: list[Run], my_runs: list[Run]) -> Facts:
    """How many times as many answers the drawn setting gives, by both; and how far the two may differ by chance."""
    theirs, mine = table.goodputs(their_runs), table.goodputs(my_runs)
    spread = [noise.of(theirs), noise.of(mine)]
    chance = chance_of(theirs, mine)
    if chance > MOST:
        raise unsteady(*spread)
    told, found = (mean(group[drawn]) / mean(group[off]) for group in (theirs, mine))
    differs = abs(math.log(found / told)) > max(LEAST, chance)
    if differs and (hours := hours_apart(their_runs)) > APART:
        text = f"The ratio moved from {told:.2f} to {found:.2f}, and your runs of the two are {hours:.0f} hours apart"
        raise LabError(f"{text}.", f"Remove the folders of {drawn} and {off} from bench/runs, and measure both again.")
    busy = [mean([run.facts["cpu"]["others"] for run in some]) for some in (their_runs, my_runs)]
    if differs and abs(busy[0] - busy[1]) > 0.15 * machine.facts()["cpus"]:
        text = f"The ratio moved from {told:.2f} to {found:.2f} while other programs used {busy[1]:.1f} cores"
        raise LabError(f"{text}, not {busy[0]:.1f} as when you measured.", BUSY)
    return {
        "setting": drawn, "told": round(told, 3), "found": round(found, 3), "noise": [round(s, 3) for s in spread],
        "allowed": round(max(LEAST, chance), 3), "theirs": theirs, "mine": mine, "skipped": "",
    }  # fmt: skip


def chance_of(*sides: dict[str, list[float]]) -> float:
    """How far the ratios of those goodputs may differ by chance: four times the error that their repeats show."""
    return 4 * math.sqrt(sum(noise.of(side) ** 2 / len(repeats) for side in sides for repeats in side.values()))


def is_unsteady(theirs: dict[str, list[float]], mine: dict[str, list[float]]) -> bool:
    """Whether nothing can be told of these, and more repeats of the grader's own would help."""
    return chance_of(theirs) <= MOST < chance_of(theirs, mine)


def unsteady(theirs: float, mine: float) -> LabError:
    """Whose repeats differ too much to compare ratios."""
    if theirs <= mine:
        return LabError(f"The grader's repeats of one setting differ by {mine:.0%}: this machine cannot tell.", BUSY)
    again = "Grade again; if it stays so, move bench/runs away and measure once more when this machine is quieter."
    return LabError(f"Repeats of one setting in bench/runs differ by {theirs:.0%}: ratios cannot be compared.", again)


def hours_apart(measured: list[Run]) -> float:
    """How long after the first of those runs the last one was made, by their own words."""
    began = [datetime.fromisoformat(run.facts["began"]).timestamp() for run in measured]
    return (max(began) - min(began)) / 3600


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def number(value: Any) -> float:
    """A figure of a CSV or a note; not-a-number for everything else."""
    try:
        return math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return math.nan


def same(found: str, wanted: Any) -> bool:
    """Whether a cell of the table says what was computed, a figure or a word."""
    if isinstance(wanted, bool):
        return found.strip().title() == str(wanted)  # a spreadsheet writes TRUE
    if wanted is None or isinstance(wanted, str):
        return found.strip() in ("", "None") if wanted is None else found == str(wanted)
    return close(found, wanted, EXACT)


def close(found: Any, wanted: Any, by: float) -> bool:
    """Whether two figures are one but for rounding; both may be missing."""
    a, b = number(found), number(wanted)
    return (math.isnan(a) and math.isnan(b)) or abs(a - b) <= max(by * abs(b), 0.0051)


@check(bench)
def settings_compared(seen: Facts) -> Finding:
    """The course module's own form: a table with batching off, three settings, throughput, p50, p95 and errors."""
    wanted = f"batching off and {SETTINGS} settings, each with goodput, p50, p95 and errors"
    rows = seen["table"]["rows"]
    if seen["table"]["problem"] or not rows:
        return Finding(False, f"bench/table.csv: {seen['table']['problem'] or 'it has no rows'}.", None, wanted)
    whole = [r for r in rows if not any(math.isnan(number(r[c])) for c in ("goodput", "p50_ms", "p95_ms", "share_503"))]
    on, off = ([r["setting"] for r in whole if r["batching"].title() == value] for value in ("True", "False"))
    if not off or len(on) < SETTINGS:
        message = f"bench/table.csv has {len(on)} settings with batching on and {len(off)} with batching off"
        return Finding(False, f"{message}; wanted: {wanted}.", [r["setting"] for r in whole], wanted)
    measured = {value: {r["where"] for r in whole if r["batching"].title() == value} for value in ("True", "False")}
    if alone := measured["True"] - measured["False"]:
        message = f"Rows say where = {min(alone)}, and batching off was not measured there"
        return Finding(False, f"{message}: there is nothing to compare them with.", sorted(alone), wanted)
    return Finding(True, f"Compared are batching off and {', '.join(on)}.", [*off, *on], wanted)


@check(bench, after=settings_compared)
def rows_from_runs(seen: Facts) -> Finding:
    """Every figure is what the run folders give: of 200s alone, after the warm-up, from the scheduled time."""
    if seen["problem"] or not seen["runs"]:
        return Finding(False, f"bench/runs: {seen['problem'] or 'there is no complete run'}.", None, "run folders")
    computed = {row["setting"]: row for row in seen["rows"]}
    if odd := {row["setting"] for row in seen["table"]["rows"]} ^ set(computed):
        return Finding(False, f"{min(odd)} is in one of bench/table.csv and bench/runs only.", sorted(odd), [])
    for row in seen["table"]["rows"]:
        for column in table.COLUMNS:
            found, wanted = row[column], computed[row["setting"]][column]
            if not same(found, wanted):
                message = f"{row['setting']}: the table says {column} = {found}, its run folders give {wanted}"
                return Finding(False, f"{message}. Let `table.write` make the table.", found, wanted)
    return Finding(True, f"Its figures follow from {len(seen['runs'])} run folders.", len(seen["runs"]), None)


@check(bench, after=rows_from_runs)
def settings_differ(seen: Facts) -> Finding:
    keys: dict[str, set[str]] = {}
    for run in seen["runs"]:
        keys.setdefault(str(run["key"]), set()).add(run["setting"])
    if twice := [sorted(names) for names in keys.values() if len(names) > 1]:
        message = f"{' and '.join(twice[0])} are one and the same setting under {len(twice[0])} names."
        return Finding(False, message, twice[0], "one name a setting")
    for name in sorted({run["setting"] for run in seen["runs"]}):
        if len(own := [key for key, names in keys.items() if name in names]) > 1:
            message = f"The runs of {name} are of {len(own)} settings: {' and '.join(sorted(own))}."
            return Finding(False, message, own, "one setting a name")
    return Finding(True, f"{len(keys)} settings, all different.", len(keys), None)


@check(bench, after=settings_differ)
def settings_applied(seen: Facts) -> Finding:
    """Three witnesses a run: the file in the process, the values in the process, the server's behaviour."""
    if found := problem_of(seen, "setting"):
        return Finding(False, f"{found}. So the row is not of that setting.", found, "three witnesses")
    return Finding(True, "Each setting held in both runners' own processes, and they behaved so.", None, None)


@check(bench, after=settings_applied)
def same_load(seen: Facts) -> Finding:
    """One load for all rows that were measured in one place."""
    for where in sorted({str(run["key"][0]) for run in seen["runs"]}):
        there = [run for run in seen["runs"] if str(run["key"][0]) == where]
        first = {json.dumps(run["load"], sort_keys=True): run["name"] for run in reversed(there)}
        loads = sorted(first)
        if len(loads) > 1:
            named = " and ".join(f"{load} ({first[load]})" for load in loads)
            message = f"The {where} rows are of {len(loads)} loads: {named}."
            return Finding(False, message, loads, "one load")
    return Finding(True, f"Every row is of the same load: {loads[0]}.", loads, loads)


@check(bench, after=same_load)
def measured_here(seen: Facts) -> Finding:
    here = seen["here"]
    for run in seen["runs"]:
        if run["machine"].get("machine") != here["machine"]:
            message = f"{run['name']} was measured on another machine ({run['machine'].get('cpu')}) than this one"
            return Finding(False, f"{message} ({here['cpu']}).", run["machine"], here)
    if found := problem_of(seen, "place"):
        return Finding(False, f"{found}.", found, "where the row says")
    return Finding(True, f"All of it was measured here: {here['cpus']} cores, {here['cpu']}.", None, None)


@check(bench, after=measured_here)
def repeated(seen: Facts) -> Finding:
    for row in seen["rows"]:
        if row["repeats"] < REPEATS:
            message = f"{row['setting']} was measured {row['repeats']} times; {REPEATS} show how far repeats differ."
            return Finding(False, message, row["repeats"], REPEATS)
    return Finding(True, "Each row is the median of three repeats or more.", None, None)


@check(bench, after=repeated)
def figures_hold(seen: Facts) -> Finding:
    """Little's law, steady waits, level concurrency, counts that agree, no cache: what makes figures wrong whoever
    measured them."""
    if found := problem_of(seen, "figures"):
        return Finding(False, f"{found}.", found, "figures that hold")
    message = "Little's law holds in every run, each was steady, and the server counted what the log has."
    return Finding(True, message, None, None)


def problem_of(seen: Facts, kind: str) -> str:
    """The first problem of that kind, and whose it is."""
    found = [f"{run['name']}: {text}" for run in seen["runs"] for k, text in run["problems"] if k == kind]
    return found[0] if found else ""


@check(bench, after=figures_hold)
def note_written(seen: Facts) -> Finding:
    note, wanted = seen["note"], "[chosen] and [runner_up] with setting, goodput, p95_ms, share_503; and why"
    if note["problem"]:
        return Finding(False, f"bench/note.toml: {note['problem']}.", None, wanted)
    for part in ("chosen", "runner_up"):
        given = note.get(part)
        missing = [k for k in ("setting", *NOTED) if not isinstance(given, dict) or k not in given]
        if missing:
            return Finding(False, f"bench/note.toml: [{part}] has no {', '.join(missing)}.", given, wanted)
    if words(note.get("why", "")) < 5:
        return Finding(False, "bench/note.toml: `why` says nothing yet. Write it for a colleague.", None, wanted)
    return Finding(True, f"You chose {note['chosen']['setting']}.", note["chosen"]["setting"], wanted)


def words(given: Any) -> int:
    """Different words, in letters or figures."""
    return len({word.lower() for word in re.findall(r"\w+", str(given))})


@check(bench, after=note_written)
def note_agrees(seen: Facts) -> Finding:
    """What the note says of two settings is what the table says, and the better one is chosen."""
    rows, note = {row["setting"]: row for row in seen["rows"]}, seen["note"]
    for part in ("chosen", "runner_up"):
        name = note[part]["setting"]
        if name not in rows:
            return Finding(False, f"The note's {part} is {name}, which is not in the table.", name, sorted(rows))
        for figure in NOTED:
            found, wanted = note[part][figure], rows[name][figure]
            if not close(found, wanted, ROUND):
                message = f"The note says {figure} = {found} of {name}; the table says {wanted}."
                return Finding(False, message, found, wanted)
    chosen, other = rows[note["chosen"]["setting"]], rows[note["runner_up"]["setting"]]
    if chosen is other:
        return Finding(False, "The note's runner_up is the setting that it chose.", chosen["setting"], "another")
    for row in seen["rows"]:
        for part, one in (("chosen", chosen), ("runner_up", other)):
            if row not in (chosen, one) and (how := worse(one, row)):
                message = f"{row['setting']} {how} than {one['setting']}, which the note has as its {part}."
                return Finding(False, message, one["setting"], row["setting"])
    return Finding(True, "The note says what the table says.", note["chosen"], None)


def worse(one: Facts, other: Facts) -> str:
    """In what the other is better by more than repeats differ, where that is everything; nothing otherwise. Where
    people are refused, p95 is of the rest, and no merit."""
    clear = 1 + max(one["noise"], other["noise"], 0.02)
    more = other["goodput"] > clear * one["goodput"] and one["where"] == other["where"]
    if not more or other["share_503"] > one["share_503"]:
        return ""
    if other["share_503"] + REFUSED < one["share_503"]:
        return f"gives more answers, and refuses {one['share_503'] - other['share_503']:.0%} of the people less,"
    return "gives more answers, sooner, and refuses no more" if clear * other["p95_ms"] < one["p95_ms"] else ""


@check(handed, after=note_agrees)
def choice_handed_over(seen: Facts) -> Finding:
    """bench/chosen.yml, served, is the chosen setting: in both runners' processes, and in what people get."""
    if wrong := seen.get("skipped") or seen["problem"]:
        return Finding(False, f"bench/chosen.yml: {wrong}", None, "a configuration that is served")
    name, wanted = seen["chosen"], seen["wanted"]
    for role in RUNNERS:
        if (found := seen["batching"].get(role)) != wanted:
            message = f"Served with bench/chosen.yml, the process of {role} has batching {found}; {name} is {wanted}."
            return Finding(False, message, found, wanted)
    good, least = 1 - lost(seen), seen["least_good"]
    if not least <= good <= 1:
        shares = ", ".join(f"{seen[key]:.0%} {end}" for key, end in ENDS.items())
        message = f"Served with bench/chosen.yml, {good:.0%} of the answers are 200 ({shares})"
        return Finding(False, f"{message}; by your row of {name} it is at least {least:.0%}.", good, least)
    if not seen["least_batch"] <= seen["mean_batch"]:
        message = f"Served with bench/chosen.yml, /metrics counts {seen['mean_batch']:.1f} requests a batch"
        message += f"; by your row of {name} it is at least {seen['least_batch']:.1f}"
        return Finding(False, f"{message}. What else does the file say?", seen["mean_batch"], seen["least_batch"])
    return Finding(True, f"Served with bench/chosen.yml, both runners have the setting {name}.", wanted, wanted)


FILES = (
    settings_compared, rows_from_runs, settings_differ, settings_applied, same_load, measured_here, repeated,
    figures_hold, note_written, note_agrees,
)  # fmt: skip


@check(repeat, after=note_agrees)
def repeats_like_yours(seen: Facts) -> Finding:
    """Ratios are compared: a machine's speed changes from hour to hour, and that of two settings does so together."""
    if seen["skipped"]:
        return Finding(False, seen["skipped"], None, None)
    gap = abs(math.log(seen["found"] / seen["told"])) if min(seen["found"], seen["told"]) > 0 else math.inf
    named = f"{seen['setting']} ({seen['where']})"
    times = f"{named} gives {seen['found']:.2f} times as many answers as batching off; your table says"
    message = f"Measured again by the grader, {times} {seen['told']:.2f}. Chance explains {seen['allowed']:.0%}."
    return Finding(gap <= seen["allowed"], message, seen["found"], seen["told"])


# What the mutants do to a copy of a right bench/.


@contextlib.contextmanager
def copied_repeat(ws: Any) -> Iterator[None]:
    """The third repeat is the second, under its own number."""
    _, second, third = folders(ws, names(ws)[0])
    facts = json.loads((third / "run.json").read_text())
    shutil.rmtree(third)
    shutil.copytree(second, third)
    change_facts(third, lambda copy: copy.update({key: facts[key] for key in ("repeat", "order", "began")}))
    table.write(bench_of(ws))
    yield


@contextlib.contextmanager
def moved_repeat(ws: Any) -> Iterator[None]:
    """The same, each of its times a millisecond later."""
    with copied_repeat(ws):
        third = folders(ws, names(ws)[0])[2]
        log = third / "requests.csv"
        times = ("scheduled", "sent", "ended")
        moved = [r._replace(**{key: getattr(r, key) + 0.001 for key in times}) for r in read_requests(log)]
        write_requests(log, moved)
        head, *looks = (third / "inflight.csv").read_text().splitlines()
        later = [f"{float(at) + 0.001:.3f},{rest}" for at, _, rest in (look.partition(",") for look in looks)]
        (third / "inflight.csv").write_text("\n".join([head, *later]) + "\n")
        table.write(bench_of(ws))
        yield


def write_note(ws: Any, chosen: Facts, other: Facts) -> None:
    parts = [(part, row, "\n".join(f"{key} = {row[key]}" for key in NOTED))
             for part, row in (("chosen", chosen), ("runner_up", other))]  # fmt: skip
    tables = [f'[{part}]\nsetting = "{row["setting"]}"\n{figures}\n' for part, row, figures in parts]
    (bench_of(ws) / "note.toml").write_text('why = "It is what I would run for these people."\n' + "\n".join(tables))


@contextlib.contextmanager
def third_is_better(ws: Any) -> Iterator[None]:
    """Batching off comes second in the note, and a third row beats it in everything."""
    rows = [row for row in table.rows(bench_of(ws)) if row["where"] == "local"]
    most = max(rows, key=lambda row: float(row["goodput"]))
    write_note(ws, most, next(row for row in rows if not row["batching"]))
    yield


@contextlib.contextmanager
def spreadsheet(ws: Any) -> Iterator[None]:
    """Right: the table as a spreadsheet saves it: a byte order mark, quotes, TRUE and FALSE, a line of empty cells."""
    change_rows(ws, lambda row: row.update(batching=row["batching"].upper()))
    path = bench_of(ws) / "table.csv"
    rows = list(csv.reader(path.read_text().splitlines()))
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([*rows, [""] * len(rows[0])])
    yield


def bench_of(ws: Any) -> Path:
    return Path(ws.root) / "bench"


def change_rows(ws: Any, change: Any) -> None:
    """Edits table.csv as a person would."""
    path = bench_of(ws) / "table.csv"
    rows = list(csv.DictReader(path.read_text().splitlines()))
    for row in rows:
        change(row)
    with path.open("w", newline="") as file:
        out = csv.DictWriter(file, table.COLUMNS, lineterminator="\n")
        out.writeheader()
        out.writerows(rows)


def change_facts(folder: Path, change: Any) -> None:
    facts = json.loads((folder / "run.json").read_text())
    change(facts)
    (folder / "run.json").write_text(json.dumps(facts))


def folders(ws: Any, name: str) -> list[Path]:
    return sorted((bench_of(ws) / "runs").glob(f"{name}-[0-9]"))


def names(ws: Any, batching: bool = True) -> list[str]:
    """The settings of that bench, those with the most answers first."""
    rows = [row for row in table.rows(bench_of(ws)) if row["batching"] is batching]
    return [str(row["setting"]) for row in sorted(rows, key=lambda row: -row["goodput"])]


@contextlib.contextmanager
def measured_as_asked(ws: Any) -> Iterator[None]:
    """The runs that a changed bench/experiment.toml would have given: of its settings, each as it asks."""
    asked = {
        one["name"]: Setting(**one) for one in tomllib.loads((bench_of(ws) / "experiment.toml").read_text())["setting"]
    }
    found = {run.setting.name: run.setting for run in runs.read_all(bench_of(ws))}
    for name, old in found.items():
        if name not in asked or asked[name].key() != old.key():
            for folder in folders(ws, name):
                shutil.rmtree(folder)
    for name, setting in asked.items():
        like = next(other for other, old in found.items() if old.key() == setting.key())
        for source in folders(ws, like) if like != name else []:
            folder = source.with_name(source.name.replace(like, name))
            shutil.copytree(source, folder)
            change_facts(folder, lambda facts, name=name: facts["setting"].update(name=name))
    table.write(bench_of(ws))
    yield


def type_in_best_row(ws: Any, **cells: str) -> None:
    best = names(ws)[0]
    change_rows(ws, lambda row: row.update(cells) if row["setting"] == best else None)


@contextlib.contextmanager
def typed_table(ws: Any) -> Iterator[None]:
    type_in_best_row(ws, p95_ms="42.0")
    yield


@contextlib.contextmanager
def typed_setting(ws: Any) -> Iterator[None]:
    type_in_best_row(ws, max_batch_size="64")
    yield


@contextlib.contextmanager
def typed_reason(ws: Any) -> Iterator[None]:
    type_in_best_row(ws, why="a quiet hour")
    yield


@contextlib.contextmanager
def refusals_counted(ws: Any) -> Iterator[None]:
    """A third of what came back was refused; the table's throughput is whatever came back."""
    for folder in folders(ws, names(ws)[0]):
        requests = read_requests(folder / "requests.csv")
        write_requests(
            folder / "requests.csv", [r._replace(end="503") if i % 3 == 0 else r for i, r in enumerate(requests)]
        )
    yield


@contextlib.contextmanager
def warmup_counted(ws: Any) -> Iterator[None]:
    """Figures of the whole load, its first seconds included."""

    def change(row: dict[str, Any]) -> None:
        whole = [summarise(runs.read(folder).log) for folder in folders(ws, row["setting"])]
        for figure in ("goodput", "p50_ms", "p95_ms", "p99_ms", "mean_ms"):
            row[figure] = round(sorted(getattr(s, figure) for s in whole)[1], 2)

    change_rows(ws, change)
    yield


@contextlib.contextmanager
def naive_p99(ws: Any) -> Iterator[None]:
    """A stall held up one request in twenty for 1.4 s; the table counts from the time of sending."""
    for folder in folders(ws, names(ws)[0]):
        requests = read_requests(folder / "requests.csv")
        held = [r._replace(scheduled=r.sent - 1.4) if i % 20 == 0 else r for i, r in enumerate(requests)]
        write_requests(folder / "requests.csv", held)
    yield


@contextlib.contextmanager
def never_applied(ws: Any) -> Iterator[None]:
    """As in the course module: the setting stands in a file that no process was told of."""
    for folder in folders(ws, names(ws)[-1]):
        change_facts(folder, lambda facts: facts["setting"].update(max_batch_size=64))
    table.write(bench_of(ws))
    yield


@contextlib.contextmanager
def claims_cluster(ws: Any) -> Iterator[None]:
    """Runs of this machine under the name of the cluster."""
    for run in runs.read_all(bench_of(ws)):
        if run.setting.where == "cluster":
            shutil.rmtree(run.folder)
        else:
            change_facts(run.folder, lambda facts: facts["setting"].update(where="cluster"))
    table.write(bench_of(ws))
    yield


@contextlib.contextmanager
def other_loads(ws: Any) -> Iterator[None]:
    for folder in folders(ws, names(ws)[0]):
        change_facts(folder, lambda facts: facts["load"].update(users=40))
    table.write(bench_of(ws))
    yield


@contextlib.contextmanager
def other_machine(ws: Any) -> Iterator[None]:
    for name in [*names(ws), *names(ws, False)]:
        for folder in folders(ws, name):
            change_facts(folder, lambda facts: facts["machine"].update(machine="0" * 12, cpu="a colleague's"))
    table.write(bench_of(ws))
    yield


@contextlib.contextmanager
def one_repeat(ws: Any) -> Iterator[None]:
    for name in [*names(ws), *names(ws, False)]:
        for folder in folders(ws, name)[1:]:
            shutil.rmtree(folder)
    table.write(bench_of(ws))
    yield


@contextlib.contextmanager
def waits_halved(ws: Any) -> Iterator[None]:
    """Waits that look better, at a throughput that eighty waiting users cannot give."""
    for folder in folders(ws, names(ws)[0]):
        requests = read_requests(folder / "requests.csv")
        halved = [r._replace(scheduled=(r.sent + r.ended) / 2, sent=(r.sent + r.ended) / 2) for r in requests]
        write_requests(folder / "requests.csv", halved)
    table.write(bench_of(ws))
    yield


@contextlib.contextmanager
def note_contradicts(ws: Any) -> Iterator[None]:
    """The worst setting is chosen, and the figures of the best are written beside its name."""
    rows = {row["setting"]: row for row in table.rows(bench_of(ws))}
    best, *_, worst = names(ws)
    figures = "\n".join(f"{key} = {rows[best][key]}" for key in NOTED)
    parts = [f'[{part}]\nsetting = "{name}"\n{figures}\n' for part, name in (("chosen", worst), ("runner_up", best))]
    (bench_of(ws) / "note.toml").write_text('why = "It is the one that everybody uses for this."\n' + "\n".join(parts))
    yield


def stretch(folder: Path) -> None:
    """The log of a run that was three times slower than this one."""
    requests, seconds = read_requests(folder / "requests.csv"), runs.read(folder).load["seconds"]
    early = [r for r in requests if r.sent < seconds / 3]
    slow = [r._replace(scheduled=3 * r.scheduled, sent=3 * r.sent, ended=3 * r.ended) for r in early]
    write_requests(folder / "requests.csv", slow)


def recount(folder: Path) -> None:
    """The server's own count, and that of its pod, as many as the log has lines."""
    page, lines = (folder / "after.prom").read_text(), Counter(r.end for r in read_requests(folder / "requests.csv"))
    before = by_status((folder / "before.prom").read_text())

    def put(count: re.Match[str]) -> str:
        status = next((s for s in lines if f'http_response_code="{s}"' in count[0]), "")
        is_asked = status and 'endpoint="/classify"' in count[0]
        return f"{count[0].rpartition(' ')[0]} {before[status] + lines[status]}" if is_asked else count[0]

    (folder / "after.prom").write_text(TOTAL.sub(put, page))
    answered = sum(by_status((folder / "after.prom").read_text()).values())

    def change(facts: Facts) -> None:
        for witness in [w for w in facts["witnesses"] if "place" in w]:
            witness["place"]["answered"] = answered

    change_facts(folder, change)


@contextlib.contextmanager
def stretched_runs(ws: Any) -> Iterator[None]:
    """With batching off, three times slower than it was, by the log and the table; /metrics counted otherwise."""
    for folder in [folder for name in names(ws, False) for folder in folders(ws, name)]:
        stretch(folder)
    table.write(bench_of(ws))
    yield


@contextlib.contextmanager
def invented_runs(ws: Any) -> Iterator[None]:
    """The same in files that agree with one another, the server's counts with them."""
    for folder in [folder for name in names(ws, False) for folder in folders(ws, name)]:
        stretch(folder)
        recount(folder)
    table.write(bench_of(ws))
    yield


@contextlib.contextmanager
def own_ways(ws: Any) -> Iterator[None]:
    """Right, and unlike ours: rows in another order, a column more, and a note whose figures are rounded."""
    path = bench_of(ws) / "table.csv"
    rows = list(csv.DictReader(path.read_text().splitlines()))
    with path.open("w", newline="") as file:
        out = csv.DictWriter(file, ["remark", *table.COLUMNS], lineterminator="\n")
        out.writeheader()
        out.writerows({**row, "remark": "mine"} for row in reversed(rows))
    note = tomllib.loads((bench_of(ws) / "note.toml").read_text())
    lines = ['why = "Enough answers, and soon enough for people who wait at a screen."']
    for part in ("chosen", "runner_up"):
        given = note[part]
        lines += [f"[{part}]", f'setting = "{given["setting"]}"', f"goodput = {given['goodput']:.0f}"]
        lines += [f"p95_ms = {given['p95_ms']:.0f}", f"share_503 = {given['share_503']:.3f}"]
    (bench_of(ws) / "note.toml").write_text("\n".join(lines) + "\n")
    yield
