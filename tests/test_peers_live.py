"""One peer on its whole way: its environment, its start, its answers, a short load. Some 30 s on two cores."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from labs.helpers.limit import rounds
from labs.helpers.limit.asker import Load
from labs.helpers.peers import answers, environments, peers
from labs.helpers.peers.contestants import contestant, right_answers

pytest_plugins = ["service_server"]
pytestmark = [pytest.mark.slow, pytest.mark.turn]
PEERS = peers.read()


def test_fastapi_with_a_batcher_answers_as_the_reference_under_load(store: Path) -> None:
    peer = PEERS["fastapi-batcher"]
    try:
        environments.bring(peer)
    except environments.Absent as lacking:
        (pytest.fail if os.environ.get("LAB_STRICT") else pytest.skip)(f"not run: {lacking.problem}")
    them = contestant(peer, store, right_answers(PEERS["reference"], store))
    entry = rounds.measure(them, Load(clients=16, seconds=2, warm=1), 1)
    assert not entry["problem"], entry["problem"]
    assert set(entry["ends"]) == {"200"} and entry["goodput"] > 20
    assert entry["facts"]["checked"] == answers.COUNT and "worker" in {one["role"] for one in entry["processes"]}
