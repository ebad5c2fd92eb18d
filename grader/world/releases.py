"""What was released: a store's newest Bento, the image that deploy/release.json names, and three tickets to ask."""

from __future__ import annotations

import json
from pathlib import Path

from grader.model import Facts

NAME = "demo_text_intelligence"
TEXTS = {  # tickets that any release must label so
    "You charged my card two times this month": "billing",
    "My parcel has not arrived yet": "shipping",
    "I forgot my password and cannot log in": "account",
}


def newest(store: Path) -> str:
    """The version of the newest Bento of our name; "" where there is none."""
    pointer = store / "bentos" / NAME / "latest"
    return pointer.read_text().strip() if pointer.is_file() else ""


def released(root: Path) -> Facts:
    """What deploy/release.json says: the name that the cluster will pull."""
    try:
        found = json.loads((root / "deploy" / "release.json").read_text())
        return {"release": str(found["image"]), "release_problem": ""}
    except FileNotFoundError:
        return {"release": "", "release_problem": "there is no deploy/release.json"}
    except (ValueError, KeyError, TypeError) as wrong:
        return {"release": "", "release_problem": f"deploy/release.json: {type(wrong).__name__}: {wrong}"}
