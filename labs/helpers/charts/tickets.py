"""Pictures and tables of tickets: how alike they are, and what becomes of their labels when preprocessing drifts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from labs.helpers.charts.canvas import BLUE, GREY, ORANGE, Picture, canvas, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    Numbers = NDArray[Any]


def draw_alike(texts: Sequence[str], labels: Sequence[str], rows: Numbers) -> Picture:
    """The cosine of each pair of tickets; a frame marks each one's nearest other, dashed if the labels differ."""
    cosines = rows @ rows.T
    figure, axes = canvas("Which tickets does MiniLM find alike?", 9, 4.8)
    axes.imshow(cosines, cmap="Blues", vmin=0, vmax=1.15, aspect="auto")
    names = [f"{shorten(t, 40)}   {label}  {i}" for i, (t, label) in enumerate(zip(texts, labels, strict=True), 1)]
    axes.set_yticks(range(len(texts)), names, fontsize=9)
    axes.set_xticks(range(len(texts)), [str(i) for i in range(1, len(texts) + 1)])
    axes.set_xlabel("ticket   (in the cells: cosine; 1 = same direction, 0 = nothing in common)", fontsize=9)
    for (row, column), cosine in _cells(cosines):
        shade = "white" if cosine > 0.6 else "black"
        axes.text(column, row, f"{cosine:.2f}", ha="center", va="center", fontsize=9, color=shade)
    for row, column in enumerate(nearest(rows)):
        _frame(axes, row, column, same=labels[row] == labels[column])
    return Picture(figure, alike_finding(labels, rows))


def _cells(table: Numbers) -> list[tuple[tuple[int, int], float]]:
    return [((i, j), float(value)) for i, line in enumerate(table) for j, value in enumerate(line)]


def _frame(axes: Axes, row: int, column: int, same: bool) -> None:
    from matplotlib.patches import Rectangle

    style = "-" if same else (0, (2, 1.5))
    place = (column - 0.46, row - 0.44)
    axes.add_patch(Rectangle(place, 0.92, 0.88, fill=False, edgecolor=ORANGE, linewidth=2.2, linestyle=style))


def nearest(rows: Numbers) -> list[int]:
    """For each row, the other row with the largest cosine."""
    cosines = rows @ rows.T
    for i in range(len(cosines)):
        cosines[i, i] = -2  # below any cosine: nobody is their own neighbour
    return [int(i) for i in cosines.argmax(axis=1)]


def alike_finding(labels: Sequence[str], rows: Numbers) -> str:
    near = nearest(rows)
    cosines = rows @ rows.T
    one = max(range(len(near)), key=lambda i: float(cosines[i, near[i]]))
    other = near[one]
    first, second = sorted((one + 1, other + 1))
    wrong = [i for i, j in enumerate(near) if labels[i] != labels[j]]
    told = f"The closest pair is {first} and {second}, at {cosines[one, other]:.2f}. "
    told += (
        f"For {len(near) - len(wrong)} of {len(near)} tickets the nearest other one has the same label (solid frames)"
    )
    strays = [f"{i + 1} ({labels[i]}) is nearest to {near[i] + 1} ({labels[near[i]]})" for i in wrong]
    return told + (f"; {', '.join(strays)} (dashed)." if strays else ".")


def draw_drift(shared: Numbers, drifted: Numbers, change: str) -> Picture:
    """One mark a ticket: the score of its label when serving prepares as training did, and when it does not."""
    figure, axes = canvas("What becomes of a ticket's label when the server's copy has aged?", 8, 4.8)
    label = shared.argmax(axis=1)
    before, after = shared.max(axis=1), drifted[range(len(label)), label]
    flipped = drifted.argmax(axis=1) != label
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--", label="same score both ways")
    axes.scatter(before[~flipped], after[~flipped], s=34, facecolors="none", edgecolors=BLUE)
    axes.scatter(before[flipped], after[flipped], s=42, marker="x", color=ORANGE, linewidths=2)
    axes.scatter([], [], s=34, facecolors="none", edgecolors=BLUE, label=f"{(~flipped).sum()} keep their label")
    axes.scatter([], [], s=42, marker="x", color=ORANGE, linewidths=2, label=f"{flipped.sum()} get another label")
    axes.legend(loc="upper left", frameon=False)
    low = float(min(before.min(), after.min())) - 0.03
    axes.set(xlim=(low, 0.95), ylim=(low, 0.95))
    axes.set_xlabel("score of the label, prepared as in training (0 to 1)")
    axes.set_ylabel("score of that label, prepared by the copy (0 to 1)")
    return Picture(figure, drift_finding(shared, drifted, change))


def drift_finding(shared: Numbers, drifted: Numbers, change: str) -> str:
    label = shared.argmax(axis=1)
    flipped = int((drifted.argmax(axis=1) != label).sum())
    lost = float((shared.max(axis=1) - drifted[range(len(label)), label]).max())
    told = f"{change}: {flipped} of {len(label)} tickets get another label"
    return f"{told}, and the hardest hit label loses {lost:.2f} of its score. Nothing raised an error."


def flips(texts: Sequence[str], classes: Sequence[str], shared: Numbers, drifted: Numbers, most: int = 3) -> list[str]:
    """The texts whose label changes, the surest first: two lines each."""
    changed = [i for i in range(len(texts)) if shared[i].argmax() != drifted[i].argmax()]
    changed.sort(key=lambda i: -float(shared[i].max()))
    return [_flip(texts[i], classes, shared[i], drifted[i]) for i in changed[:most]] or ["no label changed"]


def _flip(text: str, classes: Sequence[str], before: Numbers, after: Numbers) -> str:
    was, now = int(before.argmax()), int(after.argmax())
    return f"{classes[was]} {before[was]:.2f} -> {classes[now]} {after[now]:.2f}\n    {text}"
