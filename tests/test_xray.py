"""The X-ray of batching: every request of a real dispatcher is in one batch, with a reason, or cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from grader.world.load.xray import look_into, reason
from labs.helpers.load.xray import Xray, draw, read


def dispatcher(file: io.StringIO, most: int, budget_ms: int) -> Any:
    """A dispatcher of a class of its own, so that BentoML's stays as it is."""
    from bentoml._internal.marshal.dispatcher import CorkDispatcher

    class Seen(CorkDispatcher):  # type: ignore[type-arg]
        pass

    look_into(Seen, file, "embeddingrunner")
    return Seen(budget_ms, most, fallback=lambda: None, get_batch_size=lambda _: 1)


async def ask_all(cork: Any, each: int, seconds: float) -> list[Any]:
    """Bursts of that many requests, to a model that takes that long a batch."""

    async def compute(batch: tuple[Any, ...]) -> list[Any]:
        await asyncio.sleep(seconds)
        return list(batch)

    call = cork(compute)
    found: list[Any] = []
    for _ in range(8):
        found += await asyncio.gather(*(call(SimpleNamespace(n=i)) for i in range(each)))
    cork.shutdown()
    with contextlib.suppress(asyncio.CancelledError):
        await cork._controller
    return found


@pytest.mark.parametrize("budget_ms, seconds", [(60000, 0.005), (25, 0.02)])
def test_each_request_leaves_in_one_batch_or_is_cancelled(budget_ms: int, seconds: float) -> None:
    file = io.StringIO()
    answers = asyncio.run(ask_all(dispatcher(file, 8, budget_ms), 20, seconds))
    events = [json.loads(line) for line in file.getvalue().splitlines()]
    batches = [e for e in events if e["why"] != "cancelled"]
    answered, whys = sum(a is not None for a in answers), Counter(e["why"] for e in events)
    assert sum(e["size"] for e in batches) == answered
    assert whys["cancelled"] == len(answers) - answered
    assert whys["trained"] > 5 and max(e["size"] for e in batches) <= 8
    assert (whys["cancelled"] > 0) == (budget_ms == 25)
    if budget_ms > 25:
        assert whys["full"] > 0


def test_reasons() -> None:
    assert [reason(8, 8, False), reason(1, 8, False), reason(3, 8, False)] == ["full", "alone", "waited"]
    assert reason(8, 8, True) == "trained"


def test_what_was_written_is_read_and_drawn(tmp_path: Path) -> None:
    lines = [
        {"runner": "embeddingrunner", "at": time.monotonic() + i, "size": 2, "why": why, "took": 0.1, "first": 0.1}
        for i, why in enumerate(("trained", "full", "waited"))
    ]
    (tmp_path / "embeddingrunner-1.jsonl").write_text("\n".join(map(json.dumps, lines)) + '\n{"half')
    events = read(tmp_path)
    assert [e["why"] for e in events] == ["trained", "full", "waited"]
    assert Xray(events, {"embeddingrunner": (3.0, 6.0)}).agrees()
    assert not Xray(events, {"embeddingrunner": (3.0, 7.0)}).agrees()
    assert "1 full" in draw(events, "embeddingrunner").finding
