"""docs/peers.md and docs/peers.png, made of a run file: no figure on them is typed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from grader.model import Facts
from labs.helpers.charts.canvas import BLUE, GREY, ORANGE, Picture, canvas, png
from labs.helpers.limit import runs

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


def row(group: Sequence[Facts]) -> Row:
    about = group[-1]["facts"]
    least, most = runs.span(group, "goodput")
    return Row(
        title=about["title"], goodput=runs.middle(group, "goodput"), least=least, most=most,
        share=runs.middle(group, "r"), shares=tuple(entry["r"] for entry in group),
        p50_ms=runs.middle(group, "p50_ms"), p95_ms=runs.middle(group, "p95_ms"),
        errors=runs.errors(group), requests=sum(requests_of(entry) for entry in group),
        memory_mib=runs.middle(group, "pss_mb"), processes=max(len(entry["processes"]) for entry in group),
        lines=sum(about["lines"].values()), first_s=runs.middle(group, "first_s"),
    )  # fmt: skip


def requests_of(entry: Facts) -> int:
    return sum(sum(entry[part].values()) for part in ("ends", "ends_warm"))


def failed(entries: Sequence[Facts]) -> dict[str, str]:
    """Rounds without figures: whose, and why."""
    return {f"{e['facts']['title']}, round {e['round']}": e["problem"].splitlines()[0] for e in entries if e["problem"]}


# ---------------------------------------------------------------- the finding


def finding(made: Sequence[Row]) -> str:
    """Whether our best is above the best of the others, in words that the figures decide."""
    ours, others = [r for r in made if r.is_ours], [r for r in made if not r.is_ours]
    if not ours or not others:
        return "There is nothing to compare."
    mine, best = ours[0], others[0]
    below = sum(r.share < mine.share for r in others)
    title = mine.title[0].upper() + mine.title[1:]
    return f"{title} {said(mine, best)}. Its R is {mine.share:.2f}; {below} of {len(others)} others are below it."


def said(mine: Row, best: Row) -> str:
    """Above, below, or as near as the rounds of one server are to each other."""
    ratio = mine.share / best.share
    each = "in each round" if min(len(mine.shares), len(best.shares)) > 1 else "in the one round that was measured"
    if min(mine.shares) > max(best.shares):
        return f"is above all others {each}, by {ratio - 1:.0%} over the best of them, {best.title}"
    if max(mine.shares) < min(best.shares):
        return f"is below {best.title} {each}, by {1 - ratio:.0%}"
    return f"and the best of the others, {best.title}, differ by {abs(ratio - 1):.0%}, less than their rounds do"


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
    head = HEAD.format(**plan["loads"][0], cores=run["machine"]["cpus"], checked=checked)
    parts = [
        head,
        *disturbed(run["entries"]),
        finding(made),
        f"![{alt(made)}](peers.png)",
        table(made),
        READING,
        table_of_parts(run["entries"]),
    ]
    parts += ["Memory of each process, in MiB, in the last round:\n\n" + table_of_memory(run["entries"])]
    parts += listed("Not run:", plan["facts"].get("absent", {})) + listed("No figures:", failed(run["entries"]))
    return "\n\n".join([*parts, source(run, file)]) + "\n"


HEAD = """# Peers

Made by `./lab bench peers --keep`; not edited by hand.

The same two models behind other servers and behind this kit's. All answer the same question: one ticket in, its label
and that label's score out. {clients} clients on this machine ask, wait for the answer and ask again, one text a
request, no text twice; {seconds:g} s are measured after {warm:g} s of warm-up. Each round has a random order.
R is the rate of answers over the rate of the embedding model alone, measured just before and after:
`SentenceTransformer.encode` in batches of 32, in {cores} processes on {cores} cores. Before a round counts, a peer's
answers to {checked} held-out texts, asked many at a time, must equal the reference's."""


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

- *lines* are those that a team writes for it, neither blank nor comment, configuration included, counted as in lab 10.
  Preparing texts is the same file for all and is counted for none. This kit's service does more than its peers: it
  refuses bad input, signs its answers and counts them, with its metrics on. The files for that (`guard.py`,
  `limits.py`, `frame.py`, `contract.py`) are not counted.
- *memory* is what its processes hold together under the load; a page that several share is divided among them.
- *errors* are ends without a 200, the warm-up's included.
- *first answer* is from the start of the command to the first label.
- Where a peer runs as many processes as cores, each has one torch thread. Each has an environment of its own, which
  finds in the kit's what it lacks: so all use the same torch."""


def table_of_parts(entries: Sequence[Facts]) -> str:
    lines = ["| | version | batches | started with |", "|---|---|---|---|"]
    for about in {entry["name"]: entry["facts"] for entry in entries}.values():
        lines.append(f"| {about['title']} | {about['version']} | {about['batches']} | `{about['program']}` |")
    return "\n".join(lines)


def table_of_memory(entries: Sequence[Facts]) -> str:
    lines = ["| | each process |", "|---|---|"]
    for group in runs.by_name(entries).values():
        sizes = sorted(group[-1]["processes"], key=lambda one: -one["pss_mb"])
        each = ", ".join(f"{one['role']} {one['pss_mb']:.0f}" for one in sizes)
        lines.append(f"| {group[-1]['facts']['title']} | {each} |")
    return "\n".join(lines)


def listed(head: str, reasons: dict[str, str]) -> list[str]:
    return ["\n".join([head, "", *(f"- {who}: {why}" for who, why in reasons.items())])] if reasons else []


def source(run: Facts, file: Path) -> str:
    about, others = run["machine"], max((entry.get("others", 0.0) for entry in run["entries"]), default=0.0)
    on = f"{about['system']}, {about['cpu']}, {about['cpus']} cores, {about['memory_gib']} GiB"
    beside = f"other programs used at most {others:.2f} of a core"
    return f"Measured {run['made'][:10]} on {on}; {beside}; run file [{file.name}](limit/runs/{file.name})."


# ---------------------------------------------------------------- the picture


def alt(made: Sequence[Row]) -> str:
    return "R of each: " + "; ".join(f"{r.title} {r.share:.2f}" for r in made)


def to_png(file: Path) -> bytes:
    return png(draw(rows(runs.read(file)["entries"])).figure)


def draw(made: Sequence[Row]) -> Picture:
    """A bar a peer, with its rounds as marks on it; the others' bars are hatched."""
    figure, axes = canvas("How much of the model's own speed is left behind each server?", 9.5, 1.3 + 0.45 * len(made))
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
