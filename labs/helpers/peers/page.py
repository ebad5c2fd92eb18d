"""docs/peers.md and docs/peers.png, made of a run file and of peers.toml's words: no measured figure is typed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from grader.model import Facts
from labs.helpers.charts.canvas import BLUE, GREY, ORANGE, Picture, canvas, png
from labs.helpers.limit import runs
from labs.helpers.peers import peers

PAGE, PICTURE = "docs/peers.md", "docs/peers.png"
QUIET = 0.15  # cores that other programs may use beside a round that counts
OURS = "this kit's"  # how the titles of our own begin


@dataclass(frozen=True)
class Row:
    """One peer over all its rounds: medians, with the smallest and the largest; `shares` is R in each round."""

    title: str
    goodput: float  # answers with 200, a second
    least: float
    most: float
    share: float
    shares: tuple[float, ...]
    p50_ms: float
    p95_ms: float
    p95s: tuple[float, ...]
    errors: int  # in all rounds, the warm-up's included
    requests: int
    memory_mib: float
    processes: int
    lines: int
    first_s: float

    @property
    def is_ours(self) -> bool:
        return self.title.startswith(OURS)


def rows(entries: Sequence[Facts]) -> list[Row]:
    """The best first; who has no figures is not among them."""
    return sorted((row(group) for group in runs.by_name(entries).values()), key=lambda row: -row.share)


def about(entry: Facts) -> Facts:
    """What a run file says of a peer, with title and batches as peers.toml words them today."""
    known = peers.read().get(entry["name"])
    return {**entry["facts"], **({"title": known.title, "batches": known.batches} if known else {})}


def row(group: Sequence[Facts]) -> Row:
    told = about(group[-1])
    least, most = runs.span(group, "goodput")
    return Row(
        title=told["title"], goodput=runs.middle(group, "goodput"), least=least, most=most,
        share=runs.middle(group, "r"), shares=tuple(entry["r"] for entry in group),
        p50_ms=runs.middle(group, "p50_ms"), p95_ms=runs.middle(group, "p95_ms"),
        p95s=tuple(entry["p95_ms"] for entry in group),
        errors=runs.errors(group), requests=sum(requests_of(entry) for entry in group),
        memory_mib=runs.middle(group, "pss_mb"), processes=max(len(entry["processes"]) for entry in group),
        lines=sum(told["lines"].values()), first_s=runs.middle(group, "first_s"),
    )  # fmt: skip


def requests_of(entry: Facts) -> int:
    return sum(sum(entry[part].values()) for part in ("ends", "ends_warm"))


def failed(entries: Sequence[Facts]) -> dict[str, str]:
    """Rounds without figures: whose, and why."""
    return {f"{about(e)['title']}, round {e['round']}": e["problem"].splitlines()[0] for e in entries if e["problem"]}


# ---------------------------------------------------------------- the finding


def finding(made: Sequence[Row]) -> str:
    """Our best beside each of the others, in words that the rounds decide: above it or below in each round, or neither;
    of who is neither, whose p95 is lower in each round."""
    ours, others = [r for r in made if r.is_ours], [r for r in made if not r.is_ours]
    if not ours or not others:
        return "There is nothing to compare."
    mine = ours[0]
    below = [r for r in others if max(r.shares) < min(mine.shares)]
    above = [r for r in others if min(r.shares) > max(mine.shares)]
    near = [r for r in others if r not in (*below, *above)]
    told = [f"{mine.title[0].upper()}{mine.title[1:]}: R {mine.share:.2f}."]
    told += [f"{named(near)} cannot be told apart from it in rate: their rounds overlap with its own."] if near else []
    told += [f"Above it {rounds(mine)}: {named(above)}."] if above else []
    told += [f"Below it {rounds(mine)}: {named(below)}."] if below else []
    return " ".join([*told, *(waits for r in near if (waits := beside(r, mine)))])


def named(some: Sequence[Row]) -> str:
    words = [f"{r.title} ({r.share:.2f})" for r in some]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def rounds(mine: Row) -> str:
    return "in each round" if len(mine.shares) > 1 else "in the one round that was measured"


def beside(other: Row, mine: Row) -> str:
    """Where the p95 of who is as fast is lower or higher in each round: by how much, and for how many lines."""
    lower = max(other.p95s) < min(mine.p95s)
    if not lower and min(other.p95s) <= max(mine.p95s):
        return ""
    theirs, own = (f"{min(r.p95s):.0f} to {max(r.p95s):.0f}" for r in (other, mine))
    told = f"p95 of {other.title} is {'lower' if lower else 'higher'} {rounds(mine)}: {theirs} ms, and ours {own}"
    return f"{told}; it takes {other.lines} lines, ours {mine.lines}."


def told(entries: Sequence[Facts]) -> str:
    """For a terminal."""
    made = rows(entries)
    lines = [
        f"{r.title:<44} R {r.share:.2f}  {r.goodput:5.0f}/s  p95 {r.p95_ms:5.0f} ms  {r.memory_mib:6.0f} MiB  "
        f"{r.errors} errors"
        for r in made
    ]
    lines += [f"{who}: {why}" for who, why in failed(entries).items()]
    return "\n".join([*lines, finding(made)])


# ---------------------------------------------------------------- the page


def to_page(file: Path) -> str:
    """The page's whole text. Raises runs.BrokenSeal."""
    run = runs.read(file)
    made, plan = rows(run["entries"]), run["plan"]
    checked = max((e["facts"].get("checked", 0) for e in run["entries"]), default=0)
    where = {**plan["loads"][0], "cores": run["machine"]["cpus"]}
    head = HEAD.format(**where, checked=checked)
    parts = [
        head,
        *disturbed(run["entries"]),
        finding(made),
        UNTUNED,
        f"![{alt(made)}](peers.png)",
        table(made),
        READING.format(**where),
        table_of_parts(run["entries"]),
    ]
    parts += ["Memory of each process, in MiB, in its last round:\n\n" + table_of_memory(run["entries"])]
    parts += listed("Not run:", plan["facts"].get("absent", {})) + listed("No figures:", failed(run["entries"]))
    return "\n\n".join([*parts, source(run, file)]) + "\n"


HEAD = """# Peers

Made by `./lab bench peers --keep` or `--page`; not edited by hand.

The same two models behind other servers and behind this kit's. All answer the same question: one ticket in, its label
and that label's score out. {clients} clients on this machine ask, wait for the answer and ask again, one text a
request, no text twice; {seconds:g} s are measured after {warm:g} s of warm-up. Each round has a random order.
R is the rate of answers over the rate of the embedding model alone, measured just before and after:
`SentenceTransformer.encode` of 320 prepared texts a call, which it sorts by length and computes in batches of 32, in
{cores} processes on {cores} cores; no classifier, no HTTP. It is a bound, and no goal: no server has 320 texts to sort.
Before a round counts, a peer's answers to {checked} held-out texts, asked many at a time, must equal the
reference's."""
UNTUNED = """Each of the others got one configuration, with a worker a core where that can be set; no one tuned them,
and none of their makers has read this. Ours is near the end of a ladder ([limit.md](limit.md)). What is not equal, and
what this does not show, is said under the table."""


def disturbed(entries: Sequence[Facts]) -> list[str]:
    """A warning before the figures of a machine that did something else, too."""
    busy = [entry["facts"]["title"] for entry in entries if entry.get("others", 0.0) > QUIET]
    return (
        [f"**Other programs used the machine in {len(busy)} of {len(entries)} rounds: measure again.**"] if busy else []
    )


COLUMNS = (
    "R", "answers a second (rounds)", "p50, ms", "p95, ms", "errors", "memory, MiB", "processes", "lines",
    "first answer, s",
)  # fmt: skip


def table(made: Sequence[Row]) -> str:
    lines = [f"| | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for r in made:
        cells = [f"**{r.title}**" if r.is_ours else r.title, f"{r.share:.2f}"]
        cells += [rates(r), f"{r.p50_ms:.0f}", f"{r.p95_ms:.0f}"]
        cells += [f"{r.errors} of {r.requests}", f"{r.memory_mib:.0f}", str(r.processes), str(r.lines)]
        lines.append(f"| {' | '.join([*cells, f'{r.first_s:.1f}'])} |")
    return "\n".join(lines)


def rates(r: Row) -> str:
    """The median, and what there is to say of the rounds."""
    if len(r.shares) == 1:
        return f"{r.goodput:.0f} (1 round)"
    return f"{r.goodput:.0f} ({r.least:.0f} to {r.most:.0f} in {len(r.shares)} rounds)"


READING = """How to read it:

- *lines* are those that a team writes for it, neither blank nor a comment (docstrings count), configuration included,
  counted as in lab 10. Preparing texts is the same file for all and is counted for none. This kit's service does more
  than its peers: it refuses bad input, signs its answers and counts them, with its metrics on. The files for that
  (`guard.py`, `limits.py`, `frame.py`, `contract.py`) are not counted.
- *memory* is what its processes hold together under the load; a page that several share is divided among them.
- *errors* are ends without a 200, the warm-up's included. BentoML modern, two services, is measured with
  `runner_connection` raised: as it comes it loses requests (claim c48).
- *first answer* is from the start of the command to the first label; for the ladder's row, until it says that it is
  ready.
- Where a peer runs as many processes as cores, each has one torch thread. Each has an environment of its own, which
  finds in the kit's what it lacks: so all use the same torch, and the ladder's ONNX and int8 steps
  ([limit.md](limit.md)) are not here.
- *Not equal*: access logs are off for both FastAPI rows and for the ladder's row. They are on for BentoML's classic and
  modern rows and for MLServer, as these come; LitServe logs warnings alone; Ray Serve's was not looked at.
  uvloop and httptools are installed for the ladder's row, FastAPI, LitServe, Ray Serve and BentoML modern, an older
  uvloop for MLServer, neither for the classic row, which has no process a core either. The step per-core of
  [limit.md](limit.md) is that row with all three, and without logs. So the difference between the rows classic and
  modern is not that of the two APIs.
- *Not measured*: other waits for a batch than those in the table below, and how many texts a batch had in each row.
- *Not shown*: more cores, a GPU, several machines, few callers, arrivals that do not wait, long or mixed texts, an
  hour. The callers and all processes of a server share {cores} cores, which is hardest on those with many processes.
  Callers wait for their answers, so p50 is close to {clients} / rate and says nothing new."""


def table_of_parts(entries: Sequence[Facts]) -> str:
    lines = ["| | version | batches | started with |", "|---|---|---|---|"]
    for group in ordered(entries):
        told = about(group[-1])
        lines.append(f"| {told['title']} | {told['version']} | {told['batches']} | `{told['program']}` |")
    return "\n".join(lines)


def ordered(entries: Sequence[Facts]) -> list[list[Facts]]:
    """A peer's entries, peer by peer, as the first table has them; who has no figures comes last."""
    good = sorted(runs.by_name(entries).values(), key=lambda group: -runs.middle(group, "r"))
    names = [group[0]["name"] for group in good]
    failed = {entry["name"]: [entry] for entry in entries if entry["name"] not in names}
    return [*good, *failed.values()]


def table_of_memory(entries: Sequence[Facts]) -> str:
    lines = ["| | each process |", "|---|---|"]
    for group in ordered(entries):
        sizes = sorted(group[-1].get("processes", []), key=lambda one: -one["pss_mb"])
        each = ", ".join(f"{one['role']} {one['pss_mb']:.0f}" for one in sizes)
        lines += [f"| {about(group[-1])['title']} | {each} |"] if each else []
    return "\n".join(lines)


def listed(head: str, reasons: dict[str, str]) -> list[str]:
    return ["\n".join([head, "", *(f"- {who}: {why}" for who, why in reasons.items())])] if reasons else []


def source(run: Facts, file: Path) -> str:
    machine, others = run["machine"], max((entry.get("others", 0.0) for entry in run["entries"]), default=0.0)
    on = f"{machine['system']}, {machine['cpu']}, {machine['cpus']} cores, {machine['memory_gib']} GiB"
    used = f"other programs used at most {others:.2f} of a core"
    told = f"Measured {run['made'][:10]} on {on}; {used}; run file [{file.name}](limit/runs/{file.name})."
    count, kept = repeated(run)
    if not count:
        return told
    why = f"{count} of {len(run['entries'])} rounds were disturbed by other programs (more than {QUIET} of a core), "
    why += "put away, and measured again at the end: what others used is of the rounds that count"
    return f"{told} {why}{'' if kept else '; those that were put away were not kept'}."


def repeated(run: Facts) -> tuple[int, bool]:
    """How many rounds were measured again, and whether the run file has what was put away. One without it (of before
    2026-11-27) tells by its times: who is measured again is measured after all others."""
    if "refused" in run:
        return len({(one["name"], one["round"]) for one in run["refused"]}), True
    times = [entry["at"] for entry in run["entries"]]  # in the order in which they were planned
    late = [at for place, at in enumerate(times) if any(after < at for after in times[place:])]
    return sum(bool(late) and at >= min(late) for at in times), False


# ---------------------------------------------------------------- the picture


def alt(made: Sequence[Row]) -> str:
    return "R of each: " + "; ".join(f"{r.title} {r.share:.2f}" for r in made)


def to_png(file: Path) -> bytes:
    return png(draw(rows(runs.read(file)["entries"])).figure)


def draw(made: Sequence[Row]) -> Picture:
    """A bar a peer, with its rounds as marks on it; the others' bars are hatched."""
    figure, axes = canvas("How much of the model's own speed reaches the callers?", 9.5, 1.3 + 0.45 * len(made))
    for at, r in enumerate(made):
        fill, hatch = (BLUE, "") if r.is_ours else ("white", "//")
        axes.barh(at, r.share, height=0.6, color=fill, edgecolor=BLUE if r.is_ours else GREY, hatch=hatch)
        axes.plot(r.shares, [at] * len(r.shares), "|", color=ORANGE, markersize=11, markeredgewidth=2)
        axes.text(max(r.shares), at, f"   {r.share:.2f}, p95 {r.p95_ms:.0f} ms", va="center", fontsize=9)
    axes.set_yticks(range(len(made)), [r.title for r in made])
    axes.invert_yaxis()
    axes.set_xlim(0, max(1.0, 1.3 * max(max(r.shares) for r in made)))
    axes.set_xlabel("R: answers a second over texts a second of the model alone (marks: each round)")
    return Picture(figure, finding(made))
