"""docs/peers.md and docs/peers.png, made of the run file: no figure on them is typed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from grader.model import Facts
from labs.helpers.charts.canvas import BLUE, GREY, ORANGE, Picture, canvas

PAGE, PICTURE = "docs/peers.md", "docs/peers.png"
GOOD = "200"
OURS = "this kit's"  # how the titles of our own begin


@dataclass(frozen=True)
class Row:
    """One peer over all its rounds: medians, and the smallest and largest of the rounds' goodput and R."""

    name: str
    title: str
    goodput: float  # answers with 200, a second
    least: float
    most: float
    share: float  # R: goodput over what the models alone do in the same round
    least_share: float
    most_share: float
    p50_ms: float
    p95_ms: float
    errors: int  # of all rounds
    requests: int
    memory_mb: float
    processes: int
    lines: int
    first_s: float
    rounds: int

    @property
    def is_ours(self) -> bool:
        return self.title.startswith(OURS)


def rows(run: Facts) -> list[Row]:
    """The best first."""
    names = dict.fromkeys(one["peer"] for one in run["rounds"])
    made = [row(run["peers"][name], name, [r for r in run["rounds"] if r["peer"] == name]) for name in names]
    return sorted(made, key=lambda row: -row.share)


def row(about: Facts, name: str, rounds: Sequence[Facts]) -> Row:
    goodputs, shares = [r["goodput"] for r in rounds], [r["goodput"] / r["raw"] for r in rounds]
    requests = sum(sum(r["ends"].values()) for r in rounds)
    return Row(
        name=name, title=about["title"], goodput=median(goodputs), least=min(goodputs), most=max(goodputs),
        share=median(shares), least_share=min(shares), most_share=max(shares),
        p50_ms=median(r["p50_ms"] for r in rounds), p95_ms=median(r["p95_ms"] for r in rounds),
        errors=requests - sum(r["ends"].get(GOOD, 0) for r in rounds), requests=requests,
        memory_mb=median(sum(r["memory"].values()) for r in rounds), processes=max(len(r["memory"]) for r in rounds),
        lines=sum(about["lines"].values()), first_s=median(r["first_s"] for r in rounds), rounds=len(rounds),
    )  # fmt: skip


# ---------------------------------------------------------------- the finding


def finding(run: Facts) -> str:
    """Whether our best is above the best of the others, in words that the figures decide."""
    made = rows(run)
    ours, others = [r for r in made if r.is_ours], [r for r in made if not r.is_ours]
    if not ours or not others:
        return "There is nothing to compare."
    mine, best = ours[0], others[0]
    ratio = mine.share / best.share
    if mine.least_share > best.most_share:
        said = f"is above all of them in each round, by {ratio - 1:.0%} over the best, {best.title}"
    elif mine.most_share < best.least_share:
        said = f"is below {best.title} in each round, by {1 - ratio:.0%}"
    else:
        said = f"and the best of them, {best.title}, differ by {abs(ratio - 1):.0%}, less than their rounds do"
    below = sum(r.share < mine.share for r in others)
    return (
        f"{mine.title[0].upper()}{mine.title[1:]} {said}. Its R is {mine.share:.2f}, and {below} of {len(others)} others "
        f"are below it."
    )


# ---------------------------------------------------------------- the page


def to_page(run: Facts, file: str) -> str:
    made = rows(run)
    parts = [HEAD.format(**run["load"], cores=run["machine"]["cpus"], rounds=max(r.rounds for r in made)), finding(run)]
    parts += [f"![{alt(made)}](peers.png)", table(made), reading(run), table_of_parts(run), table_of_memory(run)]
    parts += [absent(run)] if any("absent" in about for about in run["peers"].values()) else []
    return "\n\n".join([*parts, source(run, file)]) + "\n"


HEAD = """# Peers

Made by `./lab bench peers`; not edited by hand.

The same two models behind other servers and behind this kit's. All answer the same question: one ticket in, its label
and that label's score out. {users} clients ask on this machine, each waits for its answer and asks again, one text a
request, no text twice; {seconds:g} s are measured after {warm:g} s of warm-up. {rounds} rounds, each in a random order.
R is the rate of answers over the rate of the embedding model alone in the same round: `SentenceTransformer.encode` in
batches of 32, in {cores} processes on {cores} cores. Before a round counts, a peer's answers to {checked} held-out
texts, asked {callers} at a time, must equal the reference's."""


COLUMNS = ("R", "answers a second (rounds)", "p50, ms", "p95, ms", "errors", "memory, MB", "processes", "lines")
COLUMNS += ("first answer, s",)


def table(made: Sequence[Row]) -> str:
    lines = [f"| | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for r in made:
        title = f"**{r.title}**" if r.is_ours else r.title
        cells = [title, f"{r.share:.2f}", f"{r.goodput:.0f} ({r.least:.0f} to {r.most:.0f})", f"{r.p50_ms:.0f}"]
        cells += [f"{r.p95_ms:.0f}", f"{r.errors} of {r.requests}", f"{r.memory_mb:.0f}", str(r.processes)]
        lines.append(f"| {' | '.join([*cells, str(r.lines), f'{r.first_s:.1f}'])} |")
    return "\n".join(lines)


def reading(run: Facts) -> str:
    return """How to read it:
- *lines* are those that a team writes for it, neither blank nor comment, configuration included, counted as in lab 10.
  Preparing texts is the same file for all and is counted for none. This kit's service does more than its peers: it
  refuses bad input, signs its answers and counts them, with its metrics on. The files for that (`guard.py`, `limits.py`,
  `frame.py`, `contract.py`) are not counted.
- *memory* is what its processes hold together after the load; a page that several share is divided among them.
- *first answer* is from the start of the command to the first label.
- Where a peer runs as many processes as cores, each has one torch thread. All use one torch, the kit's."""


def table_of_parts(run: Facts) -> str:
    lines = ["| | version | batches | started with |", "|---|---|---|---|"]
    for about in run["peers"].values():
        command = " ".join(about["program"]).replace("|", "\\|")
        lines.append(f"| {about['title']} | {about.get('version') or '-'} | {about['batches']} | `{command}` |")
    return "\n".join(lines)


def table_of_memory(run: Facts) -> str:
    """The processes of each peer's last round, the largest first."""
    lines = ["| | processes, MB each |", "|---|---|"]
    for r in rows(run):
        last = [one for one in run["rounds"] if one["peer"] == r.name][-1]
        sizes = sorted(last["memory"].items(), key=lambda item: -item[1])
        told = ", ".join(f"{name.partition(' ')[2]} {held:.0f}" for name, held in sizes)
        lines.append(f"| {r.title} | {told} |")
    return "\n".join(lines)


def absent(run: Facts) -> str:
    told = [f"- {about['title']}: {about['absent']}" for about in run["peers"].values() if "absent" in about]
    return "\n".join(["Not run:", *told])


def source(run: Facts, file: str) -> str:
    about = run["machine"]
    return (
        f"Measured {run['made'][:10]} on {about['system']}, {about['cpu']}, {about['cpus']} cores, "
        f"{about['memory_gib']} GiB, nothing else running; run file [{file}]({file.removeprefix('docs/')})."
    )


# ---------------------------------------------------------------- the picture


def alt(made: Sequence[Row]) -> str:
    return "R of each: " + "; ".join(f"{r.title} {r.share:.2f}" for r in made)


def draw(run: Facts) -> Picture:
    """A bar a peer, its rounds as marks on it; ours are dark and say so by their hatch, too."""
    made = rows(run)
    figure, axes = canvas("How much of the model's own speed is left behind each server?", 9.0, 1.3 + 0.45 * len(made))
    for at, r in enumerate(made):
        look = {"color": BLUE, "hatch": ""} if r.is_ours else {"color": "white", "hatch": "//"}
        axes.barh(at, r.share, height=0.6, edgecolor=BLUE if r.is_ours else GREY, **look)
        shares = [one["goodput"] / one["raw"] for one in run["rounds"] if one["peer"] == r.name]
        axes.plot(shares, [at] * len(shares), "|", color=ORANGE, markersize=11, markeredgewidth=2)
        axes.text(r.most_share, at, f"  {r.share:.2f}, p95 {r.p95_ms:.0f} ms", va="center", fontsize=9)
    axes.set_yticks(range(len(made)), [r.title for r in made])
    axes.invert_yaxis()
    axes.set_xlim(0, max(1.0, 1.25 * made[0].most_share))
    axes.set_xlabel("R: answers a second / texts a second of the model alone (marks: the rounds)")
    return Picture(figure, finding(run))
