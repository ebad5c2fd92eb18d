"""docs/limit.md and its pictures, made of the run files: `./lab bench ladder --page`. No figure in it is typed."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from grader.kit import Kit
from grader.model import Facts
from grader.workspace import write_atomic
from labs.helpers.charts.canvas import BLUE, GREY, ORANGE, canvas
from labs.helpers.limit import runs, steps
from labs.helpers.limit.runs import errors, middle, span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = ("ladder", "growth-clients", "growth-tokens", "growth-replicas", "senders")
ROLES = ("embeddingrunner", "api", "classifierrunner", "sender")
HATCHES = dict(zip(ROLES, ("", "///", "\\\\", ""), strict=True))
COLOURS = dict(zip(ROLES, (BLUE, ORANGE, GREY, "white"), strict=True))
Groups = Mapping[str, list[Facts]]


def write() -> str:
    """Makes the page and its pictures of the run files that are there; returns the page's path."""
    made = to_page([path for kind in KINDS if (path := runs.path_of(kind)).is_file()])
    for name, text in made.items():
        path = Kit().root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, text.encode())
    return "docs/limit.md"


def to_page(paths: Sequence[Path]) -> dict[str, str]:
    """File -> text: docs/limit.md and its pictures. Pure: the same run files give the same files. Raises BrokenSeal."""
    given = {run["kind"]: run for run in map(runs.read, paths)}
    found = {kind: given[kind] for kind in KINDS if kind in given}
    made: dict[str, str] = {}
    absent = missing(list(given))
    parts = [head()]
    for kind, part in (("ladder", ladder), ("growth-clients", clients), ("growth-tokens", tokens)):
        if kind in found:
            parts.append(part(found[kind], made))
    if "growth-replicas" in found:
        parts.append(replicas(found["growth-replicas"]))
    if "senders" in found:
        parts.append(senders(found.pop("senders")))
    parts.append(measured(found, absent))
    return {"docs/limit.md": "\n\n".join(parts) + "\n", **made}


# ---------------------------------------------------------------- the page


def head() -> str:
    return """# Close to the limit

The limit of a service is its model: raw `SentenceTransformer.encode` of 320 prepared texts a call, which it sorts by
length and computes in batches of 32, in as many processes as there are cores, with nothing else on the machine; no
classifier, no HTTP. It is a bound, and no goal: no server has 320 texts to sort. **R** is a service's good answers a
second divided by that. R above 1: raw is float32 with torch; onnx and int8 are another runtime, or other weights. The
load is the lab's: 80 people, each asks with one text, waits for the answer and asks again. Metrics and the guard are
on.

`./lab bench ladder` measures it on your machine, each round in a random order, raw before and after every server.
`./lab bench ladder --page` makes this page of the run files: no measured figure in it is typed."""


def ladder(run: Facts, made: dict[str, str]) -> str:
    groups = in_order(run, runs.by_name(run["entries"]))
    made["docs/limit/ladder.svg"] = svg(draw_ladder(groups))
    made["docs/limit/cores.svg"] = svg(draw_cores(groups))
    lines = [
        "## The ladder: one setting or file a step",
        "",
        f"![{ladder_finding(run, groups)}](limit/ladder.svg)",
        "",
        ladder_finding(run, groups),
        "",
        "| step | adds | R | least to most | answers a second | p50, p95 ms | errors | MiB (PSS) |",
        "|---|---|---|---|---|---|---|---|",
        *(row(name, group) for name, group in in_order(run, groups).items()),
        *(f"| {name} | | not measured: {why} | | | | | |" for name, why in troubles(run).items()),
        "",
        bound(run, groups),
        "",
        "Each step keeps those before it. What it is, and what it takes in return:",
        "",
        *(f"- **{name}**: {told(group)}" for name, group in in_order(run, groups).items()),
        "",
        f"![{cores_finding(run, groups)}](limit/cores.svg)",
        "",
        cores_finding(run, groups),
    ]
    return "\n".join(lines)


def in_order(run: Facts, groups: Groups) -> dict[str, list[Facts]]:
    """As the plan names them."""
    return {name: groups[name] for name in run["plan"]["names"] if name in groups}


def row(name: str, group: list[Facts]) -> str:
    low, high = span(group, "r")
    waits = f"{middle(group, 'p50_ms'):.0f}, {middle(group, 'p95_ms'):.0f}"
    figures = [f"{middle(group, 'r'):.2f}", f"{low:.2f} to {high:.2f}", f"{middle(group, 'goodput'):.0f}", waits]
    return f"| {name} | {about(group[0])['adds']} | {' | '.join([*figures, str(errors(group)), memory(group)])} |"


def memory(group: list[Facts]) -> str:
    return f"{middle(group, 'pss_mb'):.0f}"


def about(entry: Facts) -> Facts:
    """What a run file says of a step, in the words that the step has today."""
    known = steps.KNOWN.get(entry["name"])
    return {**entry["facts"], **({key: getattr(known, key) for key in ("adds", "where", "costs")} if known else {})}


def told(group: list[Facts]) -> str:
    facts = about(group[0])
    said = f"{facts['adds']} (`{facts['where']}`)." if facts["where"] else f"{facts['adds']}."
    costs = f" Costs: {facts['costs']}." if facts["costs"] else ""
    kind = (
        ""
        if facts["supported"]
        else " It rests on a private module of BentoML, so it is a variant and no part of `service/`."
    )
    labels = f"{agreement(group):.1%} of {facts.get('held_out', 'no')} held-out texts get the models' own label"
    if "cosine_least" in facts:
        labels += (
            f"; cosine to torch's vectors: {facts['cosine_mean']:.4f} on average, {facts['cosine_least']:.4f} at least"
        )
    return f"{said}{costs}{kind} {labels}."


def troubles(run: Facts) -> dict[str, str]:
    good = runs.by_name(run["entries"])
    return {e["name"]: e["problem"].splitlines()[0] for e in run["entries"] if e["problem"] and e["name"] not in good}


def bound(run: Facts, groups: Groups) -> str:
    """The goal for waiting: 2.5 times what the raw rate would make 80 people wait."""
    people, raw = 80, median(middle(group, "raw") for group in groups.values())
    goal = 2.5 * 1000 * people / raw
    within = [name for name, group in in_order(run, groups).items() if middle(group, "p95_ms") <= goal]
    return (
        f"Raw was {raw:.0f} texts a second. At that rate {people} people would wait {1000 * people / raw:.0f} ms each; "
        f"the goal for p95 is 2.5 times that, {goal:.0f} ms, and {', '.join(within) or 'no step'} kept it."
    )


def ladder_finding(run: Facts, groups: Groups) -> str:
    found = in_order(run, groups)
    share = {name: middle(group, "r") for name, group in found.items()}
    first, best = next(iter(found)), max(share, key=lambda name: share[name])
    told = f"The reference service gives {share[first]:.2f} of raw, {best} {share[best]:.2f}."
    alike = [name for name, group in found.items() if agreement(group) == 1]
    if alike and best not in alike:
        same = max(alike, key=lambda name: share[name])
        told += f" {best} answers {1 - agreement(found[best]):.1%} of the held-out texts otherwise; of the steps that "
        told += f"answer all of them as the models do, {same} gives most, {share[same]:.2f}."
    flat = [b for a, b in pairwise(found) if span(found[b], "r")[0] <= span(found[a], "r")[1]]
    if flat:
        told += f" No gain is shown by {', '.join(flat)}: their rounds overlap with those of the step before."
    return told


def agreement(group: Sequence[Facts]) -> float:
    """The share of held-out texts that get the models' own label, in the worst round."""
    return min(float(entry["facts"].get("agreement", 1.0)) for entry in group)


def cores_finding(run: Facts, groups: Groups) -> str:
    found = in_order(run, groups)
    names = list(found)
    words = []
    for name in dict.fromkeys((names[0], names[-1])):
        group = found[name]
        a_text = {role: 1000 * used(group, role) / middle(group, "goodput") for role in ROLES}
        spent = ", ".join(f"{role} {ms:.2f}" for role, ms in a_text.items())
        words.append(
            f"{name}: the machine is {middle(group, 'busy'):.0%} busy; milliseconds of a core a request: {spent}."
        )
    return " ".join(words)


def used(group: Sequence[Facts], role: str) -> float:
    return float(median(entry["cores"].get(role, 0.0) for entry in group))


def clients(run: Facts, made: dict[str, str]) -> str:
    made["docs/limit/clients.svg"] = svg(draw_growth(run, "clients", "people who ask at the same time"))
    lines = ["## From one person to four hundred", "", "![Goodput and waits by clients](limit/clients.svg)", ""]
    return "\n".join([*lines, *table(run, "clients", "people")])


def tokens(run: Facts, made: dict[str, str]) -> str:
    made["docs/limit/tokens.svg"] = svg(draw_growth(run, "tokens", "tokens of each text"))
    lines = ["## From short texts to long ones", "", "![Goodput by tokens](limit/tokens.svg)", ""]
    return "\n".join([*lines, *table(run, "tokens", "tokens")])


def table(run: Facts, key: str, title: str) -> list[str]:
    names = run["plan"]["names"]
    lines = [f"| {title} | raw | " + " | ".join(f"{name}: R, answers a second, p50, p95 ms" for name in names) + " |"]
    lines.append("|---|---|" + "---|" * len(names))
    for load in run["plan"]["loads"]:
        cells, raws = [], list[float]()
        for name in names:
            group = [e for e in run["entries"] if e["name"] == name and e["load"] == load and not e["problem"]]
            raws += [entry["raw"] for entry in group]
            cells.append(cell(group))
        lines.append(f"| {load[key]} | {median(raws):.0f} | {' | '.join(cells)} |")
    return lines


def cell(group: list[Facts]) -> str:
    if not group:
        return "not measured"
    bad = f"; {errors(group)} errors" if errors(group) else ""
    waits = f"{middle(group, 'p50_ms'):.0f}, {middle(group, 'p95_ms'):.0f}"
    return f"{middle(group, 'r'):.2f}, {middle(group, 'goodput'):.0f}, {waits}{bad}"


def replicas(run: Facts) -> str:
    groups = runs.by_name(run["entries"])
    any_entry = next(iter(groups.values()))[0]
    share, kind = any_entry["facts"]["cores_each"], any_entry["facts"]["limited_by"]
    lines = [
        "## One, two and four replicas",
        "",
        "No cluster: each replica is a server of its own on this machine, with one embedding process; its processes "
        f"share {share} of a core ({kind}, from the moment that it is ready). Clients are spread evenly over them.",
        "",
        "| step | replicas | answers a second | p50, p95 ms | errors | MiB (PSS) | seconds until all answered |",
        "|---|---|---|---|---|---|---|",
    ]
    for group in in_order(run, groups).values():
        facts = group[0]["facts"]
        waits = f"{middle(group, 'p50_ms'):.0f}, {middle(group, 'p95_ms'):.0f}"
        cells = [
            facts["step"],
            facts["replicas"],
            f"{middle(group, 'goodput'):.0f}",
            waits,
            errors(group),
            memory(group),
        ]
        lines.append(f"| {' | '.join(map(str, cells))} | {middle(group, 'first_s'):.0f} |")
    return "\n".join(lines)


def senders(run: Facts) -> str:
    lines = ["## What the load itself takes", "", "| sender | requests a second | milliseconds of a core a request |"]
    lines.append("|---|---|---|")
    for name, told in run["senders"].items():
        lines.append(f"| {name} | {told['rate']:.0f} | {told['ms_a_request']:.3f} |")
    made = f"80 clients ask a toy server that answers after 20 ms ({run['made']}, `./lab bench senders`)."
    return "\n".join([*lines, "", made])


def missing(given: Sequence[str]) -> list[str]:
    """What the page might have, and has no run file of, with the command that measures it."""
    kinds = {"growth-clients": "clients", "growth-replicas": "replicas", "growth-tokens": "the length of texts"}
    told = [words for kind, words in kinds.items() if kind not in given]
    found = [f"how it grows with {', '.join(told)} (`./lab bench growth`)"] if told else []
    return found + ([] if "senders" in given else ["what other senders take of the machine (`./lab bench senders`)"])


def measured(found: Mapping[str, Facts], absent: Sequence[str]) -> str:
    """Where and when; what was not measured; memory and cold start of each step's processes."""
    lines = ["## Where and when", "", *([f"- Not measured for this page: {'; '.join(absent)}."] if absent else [])]
    for kind, run in found.items():
        machine, versions = run["machine"], run["versions"]
        what = f"{machine['cpus']} cores ({machine['cpu']}), {machine['memory_gib']} GiB, Python {machine['python']}"
        with_what = ", ".join(f"{name} {versions[name]}" for name in sorted(versions))
        rounds = f"rounds: {run['plan']['rounds']}, seed {run['plan']['seed']}"
        told = f"{run['made']} to {run['ended']}, {rounds}, commit {run['commit']}"
        others = max(entry.get("others", 0.0) for entry in run["entries"])
        beside = f"besides server and sender, programs used at most {others:.2f} of a core"
        lines.append(f"- `{kind}`: {told}; {what}; {with_what}; {beside}.")
    if "ladder" in found:
        lines += ["", *processes(found["ladder"])]
    return "\n".join(lines)


def processes(run: Facts) -> list[str]:
    lines = ["| step | processes: MiB of each (RSS) | seconds until ready |", "|---|---|---|"]
    for name, group in in_order(run, runs.by_name(run["entries"])).items():
        roles: dict[str, list[str]] = {}
        for one in group[-1]["processes"]:
            roles.setdefault(one["role"], []).append(f"{one['rss_mb']:.0f}")
        told = "; ".join(f"{role} {' + '.join(sizes)}" for role, sizes in sorted(roles.items()))
        lines.append(f"| {name} | {told} | {middle(group, 'first_s'):.0f} |")
    return lines


# ---------------------------------------------------------------- the pictures


def draw_ladder(groups: Groups) -> Figure:
    figure, axes = canvas("How much of the machine's raw speed reaches the people?", 9, 0.9 + 0.42 * len(groups))
    for place, group in enumerate(groups.values()):
        value, (low, high) = middle(group, "r"), span(group, "r")
        colour = BLUE if group[0]["facts"]["supported"] else ORANGE
        hatch = "" if group[0]["facts"]["supported"] else "///"
        axes.barh(place, value, 0.6, color=colour, hatch=hatch, edgecolor="white")
        axes.plot([low, high], [place, place], color=GREY, linewidth=2, marker="|")
        axes.text(high, place, f"  {value:.2f}", va="center", fontsize=9)
    axes.axvline(1.0, color=GREY, linestyle="--")
    axes.text(1.0, -0.7, "raw encode", ha="center", fontsize=9)
    label_rows(axes, list(groups))
    axes.set_xlabel(
        "R: good answers a second / raw texts a second (line: least to most; hatched: rests on a private module)"
    )
    return figure


def label_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlim(left=0)


def draw_cores(groups: Groups) -> Figure:
    figure, axes = canvas("Where do the cores go?", 9, 0.9 + 0.42 * len(groups))
    for place, group in enumerate(groups.values()):
        left = 0.0
        for role in ROLES:
            value = used(group, role)
            label = role if place == 0 else None
            axes.barh(
                place, value, 0.6, left=left, color=COLOURS[role], hatch=HATCHES[role], edgecolor=GREY, label=label
            )
            left += value
    label_rows(axes, list(groups))
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    axes.set_xlabel("cores used under 80 clients")
    return figure


def draw_growth(run: Facts, key: str, label: str) -> Figure:
    figure, axes = canvas(f"How much of raw is left, by {label}?", 9, 3.6)
    for name, marker, colour in zip(run["plan"]["names"], ("o", "s", "^"), (BLUE, ORANGE, GREY), strict=False):
        points = []
        for load in run["plan"]["loads"]:
            group = [e for e in run["entries"] if e["name"] == name and e["load"] == load and not e["problem"]]
            if group:
                points.append((load[key], middle(group, "r")))
        axes.plot([x for x, _ in points], [y for _, y in points], marker=marker, color=colour, label=name)
    axes.set_xscale("log")
    ticks = [load[key] for load in run["plan"]["loads"]]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel(label)
    axes.set_ylabel("R")
    axes.legend(frameon=False)
    return figure


def svg(figure: Figure) -> str:
    """The same figure gives the same text, on every machine."""
    import matplotlib

    out = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "serving-lab", "svg.fonttype": "none"}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"
