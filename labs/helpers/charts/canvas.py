"""The look of every figure: three colours that stay apart for colour-blind eyes, and the finding in words beside it."""

from __future__ import annotations

import base64
import html
import io
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# From Okabe and Ito's palette. Marks differ in shape, hatch or text too: colour alone never tells anything.
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#5A5A5A"


def canvas(title: str, width: float = 8.0, height: float = 4.5) -> tuple[Figure, Axes]:
    """An empty figure whose title is the question that it answers."""
    from matplotlib.figure import Figure

    # Not pyplot: its figures live on in the kernel, and a second run would draw them again.
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontweight="bold", fontsize=12)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def png(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()


class Picture:
    """A figure and its finding. JupyterLab drops the alternative text of a PNG output but keeps that of an HTML one."""

    def __init__(self, figure: Figure, finding: str) -> None:
        self.figure, self.finding = figure, finding

    def _repr_html_(self) -> str:
        data, text = base64.b64encode(png(self.figure)).decode(), html.escape(self.finding)
        image = f'<img src="data:image/png;base64,{data}" alt="{text}" style="max-width: 100%">'
        return f'<figure style="margin: 0">{image}<figcaption style="max-width: 52em">{text}</figcaption></figure>'

    def __repr__(self) -> str:
        return textwrap.fill(self.finding, 100)


def shorten(text: str, width: int) -> str:
    """The text, cut at a word, with dots where something is left out."""
    return textwrap.shorten(text, width, placeholder=" …")
