"""Little's law on tables: people who wait = answers a second x seconds that each waits, whatever the server is."""

from __future__ import annotations

from dataclasses import dataclass

from labs.helpers.charts.canvas import BLUE, GREY, ORANGE, Picture, canvas


@dataclass(frozen=True)
class Row:
    """A row of a table of settings; waits in milliseconds."""

    setting: str
    rate: float  # answers a second, however they ended
    p50: float
    p95: float


# The course module's own figures: 80 people, 90 seconds, one text a request ("approximate").
MODULE = [
    Row("module: disabled", 85, 42, 180),
    Row("module: 5 ms, 16", 155, 55, 165),
    Row("module: 10 ms, 32", 205, 72, 190),
    Row("module: 25 ms, 32", 218, 96, 260),
    Row("module: 50 ms, 64", 224, 145, 390),
]


def slowest_mean(row: Row, mean_ms: float) -> float:
    """The mean, in seconds, that the slowest twentieth would need: the others wait p95 at most."""
    return (mean_ms - 0.95 * row.p95) / 0.05 / 1000


def verdict(row: Row, mean_ms: float) -> str:
    if mean_ms <= row.p95:
        return "can be"
    return f"only if the slowest 5% wait {slowest_mean(row, mean_ms):.2g} s each"


def draw(rows: list[Row], people: int = 80) -> Picture:
    """A bar from p50 to p95 for each row, as its table says; a diamond where the law puts the mean."""
    figure, axes = canvas(f"Can these waits be true with {people} people?", 9, 1.2 + 0.42 * len(rows))
    for at, row in enumerate(rows):
        mean = 1000 * people / row.rate
        fits = mean <= row.p95
        axes.barh(at, row.p95 - row.p50, left=row.p50, height=0.5, color=BLUE if fits else "white",
                  edgecolor=BLUE if fits else GREY, hatch="" if fits else "////")  # fmt: skip
        axes.plot(mean, at, "D", color=ORANGE, markersize=8)
        axes.text(1.1 * max(mean, row.p95), at, f"{mean:.0f} ms", va="center", fontsize=9, color=ORANGE)
    axes.set_yticks(range(len(rows)), [row.setting for row in rows])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(0.7 * min(row.p50 for row in rows), 2.2 * max(1000 * people / row.rate for row in rows))
    ticks = [t for t in (20, 50, 100, 200, 500, 1000, 2000, 5000) if axes.get_xlim()[0] < t < axes.get_xlim()[1]]
    axes.set_xticks(ticks, [str(t) for t in ticks])
    axes.minorticks_off()
    axes.set_xlabel("milliseconds (bar: the table's p50 to p95, hatched where the law's mean, a diamond, is beyond)")
    return Picture(figure, finding(rows, people))


def finding(rows: list[Row], people: int) -> str:
    broken = [row.setting for row in rows if 1000 * people / row.rate > row.p95]
    whole = [row.setting for row in rows if row.setting not in broken]
    told = f"By the law the mean is above the table's own p95 in {len(broken)} of {len(rows)} rows"
    return f"{told} ({', '.join(broken) or 'none'}); the others can be true: {', '.join(whole) or 'none'}."
