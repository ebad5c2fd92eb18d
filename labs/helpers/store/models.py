"""What lies in a model store: signatures as the store keeps them, files and their sizes."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labs.helpers.charts.canvas import BLUE, GREY, Picture, canvas


@dataclass(frozen=True)
class File:
    """A file of the store: its path there, and its size in bytes."""

    name: str
    size: int


def files(store: Path) -> list[File]:
    """Every file below store/models, in the order of a directory listing."""
    root = store / "models"
    return [File(str(p.relative_to(root)), p.stat().st_size) for p in sorted(root.rglob("*")) if p.is_file()]


def tree(store: Path) -> str:
    """The files as an indented tree with their sizes."""
    lines, shown = ["models/"], set()
    for file in files(store):
        *folders, name = file.name.split("/")
        for depth in range(len(folders)):
            if (path := tuple(folders[: depth + 1])) not in shown:
                shown.add(path)
                lines.append(f"{'    ' * (depth + 1)}{folders[depth]}/")
        lines.append(f"{'    ' * (len(folders) + 1) + name:<44}{size(file.size):>10}")
    return "\n".join(lines)


def size(count: float) -> str:
    """Bytes as a person reads them: 91.8 MB, 5.6 kB, 16 B."""
    for unit, scale in (("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count:.0f} B"


def draw_sizes(store: Path) -> Picture:
    """One bar a file of the latest versions, on a scale where each step is ten times the last."""
    chosen = [f for f in files(store) if _is_latest(store, f)]
    figure, axes = canvas("What takes the room in the store?", 8, 0.9 + 0.42 * len(chosen))
    for i, file in enumerate(chosen):
        runs = file.name.endswith(".pkl")
        axes.barh(i, file.size, color=BLUE if runs else "white", edgecolor=BLUE if runs else GREY, height=0.62)
        axes.text(file.size * 1.25, i, f"{size(file.size)}{', a pickle' if runs else ''}", va="center", fontsize=9)
    axes.set_yticks(range(len(chosen)), [_short(f.name) for f in chosen], fontsize=9)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(1, max(f.size for f in chosen) * 60)
    axes.set_xticks([1, 1e3, 1e6, 1e9], ["1 B", "1 kB", "1 MB", "1 GB"])
    axes.minorticks_off()
    axes.set_xlabel("size in bytes (each mark is a thousand times the one before)")
    return Picture(figure, sizes_finding(chosen))


def _is_latest(store: Path, file: File) -> bool:
    name, *rest = file.name.split("/")
    return len(rest) == 1 or rest[0] == (store / "models" / name / "latest").read_text().strip()


def _short(name: str) -> str:
    """demo_embedder/saved_model.pkl: the version is the same for all that are drawn."""
    parts = name.split("/")
    return f"{parts[0]} / {parts[-1]}"


def sizes_finding(chosen: list[File]) -> str:
    total = sum(f.size for f in chosen)
    largest = max(chosen, key=lambda f: f.size)
    share = largest.size / total
    told = f"{_short(largest.name)} is {size(largest.size)}, {share:.2%} of the {size(total)} of the latest versions"
    code = [_short(f.name) for f in chosen if f.name.endswith(".pkl")]
    return f"{told}. {len(code)} of {len(chosen)} files are pickles ({', '.join(code)}): those run code when they load."


def signatures(model: Any) -> str:
    """The part of model.yaml that a runner is made from, as it stands there."""
    text = Path(model.path_of("model.yaml")).read_text()
    lines = text.splitlines()
    begin = lines.index("signatures:")
    rest = next((i for i, line in enumerate(lines[begin + 1 :], begin + 1) if not line.startswith(" ")), len(lines))
    return "\n".join([str(model.tag), *lines[begin:rest]])


def methods(model: Any) -> str:
    """The methods of the worker that BentoML makes for this model, and how each is called."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # runners are deprecated; lab 02 uses them, says so, and lab 11 replaces them
        made = model.to_runner().runner_methods
    return ", ".join(f"{m.name} ({'batched' if m.config.batchable else 'one call at a time'})" for m in made)


def side_by_side(left: str, right: str, width: int = 44) -> str:
    """Two texts next to each other, line by line; a bar marks the lines that differ."""
    rows = max(len(left.splitlines()), len(right.splitlines()))
    pairs = zip(*(text.splitlines() + [""] * (rows - len(text.splitlines())) for text in (left, right)), strict=True)
    return "\n".join(f"{a:<{width}}{'  ' if a == b else '| '}{b}".rstrip() for a, b in pairs)


def save_plain(source: str, name: str) -> None:
    """Saves the latest `source` under another name as most people save: a name and the object, no signatures."""
    import bentoml

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = bentoml.models.get(source)
        save = bentoml.sklearn.save_model if "sklearn" in model.info.module else bentoml.picklable_model.save_model
        save(name, model.load_model(), labels={"lesson": "first-try"}, metadata=model.info.metadata)
