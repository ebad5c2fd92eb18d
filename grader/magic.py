"""`%load_ext grader.magic`: what a notebook offers is the kit's (kit.toml, `magic`); the engine knows nothing of it."""

from typing import Any

from grader.kit import Kit


def load_ipython_extension(shell: Any) -> None:
    Kit().call("magic", shell)
