"""A path with a space and an umlaut: a served folder is reloaded there, too. (./lab itself: tests/test_launcher.py.)"""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from grader.processes import wait_until
from grader.world.servers import plain_paths, served

SERVICE = """
import bentoml
from bentoml.io import JSON

svc = bentoml.legacy.Service("odd", runners=[])


@svc.api(input=JSON(), output=JSON(), route="/word")
def word(given):
    return {"word": "first"}
"""


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    folder = tmp_path / "a b ü" / "service"
    folder.mkdir(parents=True)
    (folder / "service.py").write_text(SERVICE)
    return folder


def word(url: str) -> str:
    try:
        return str(httpx.post(f"{url}/word", json={}, timeout=2, trust_env=False).json()["word"])
    except (httpx.HTTPError, ValueError, KeyError):
        return ""


@pytest.mark.slow
def test_a_change_is_served_though_the_path_has_a_space(odd: Path, tmp_path: Path) -> None:
    with served(odd, tmp_path / "store", options=["--reload"], in_place=True) as server:
        assert not server.problem, server.log(20)
        assert word(server.url) == "first"
        (odd / "service.py").write_text(SERVICE.replace("first", "second"))
        assert wait_until(lambda: word(server.url) == "second", 40, pause=0.5), server.log(20)


def test_links_are_made_only_where_they_are_needed(odd: Path, tmp_path: Path) -> None:
    python, options = plain_paths(tmp_path, odd, ["--reload"])
    assert options[-1] == str(tmp_path / "here") and (tmp_path / "here").resolve() == odd
    assert Path(python).exists() and " " not in python
    assert plain_paths(tmp_path, odd, [])[1] == []
