"""`python -m pages`: keeps executed notebooks of the last walk in pages/kept/, of labs that not every machine can run,
without what is of this machine alone. Done before a release, after a whole walk."""

from __future__ import annotations

import base64
import io
import re
import sys
from pathlib import Path

import nbformat
from PIL import Image

from grader.kit import Kit
from grader.walk import walk_workspace
from grader.workspace import write_atomic
from pages.site import KEPT

ADDRESS = re.compile(r"https?://(?!127\.|localhost)[\w.-]+:\d+[^\s\"'\\]*")  # of a mirror: real ones have no port


def main() -> None:
    kit = Kit()
    for lab in kit.labs():
        if lab.front["needs"] and (walk_workspace(kit).results / lab.notebook).is_file():
            book = nbformat.read(walk_workspace(kit).results / lab.notebook, as_version=4)
            root = Path(book.metadata.papermill.input_path).parents[2]  # of the kit that ran it: KIT/.lab/solutions/
            write_atomic(KEPT / lab.notebook, cleaned(nbformat.writes(book), root).encode())
            print(f"kept {lab.name}, {(KEPT / lab.notebook).stat().st_size / 1e3:.0f} kB", file=sys.stderr)


def cleaned(text: str, root: Path) -> str:
    """Paths of this machine and addresses of its mirrors are named, and pictures have 64 colours."""
    text = ADDRESS.sub("https://mirror.example/", text.replace(str(root), "~/serving-lab"))
    text = text.replace(str(Path.home()), "~")
    return re.sub(r"(?<=data:image/png;base64,)[A-Za-z0-9+/=]+", lambda found: smaller(found[0]), text) + "\n"


def smaller(data: str) -> str:
    out = io.BytesIO()
    image = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")
    image.quantize(64).save(out, format="png", optimize=True)
    return base64.b64encode(out.getvalue()).decode()


if __name__ == "__main__":
    main()
