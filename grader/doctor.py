"""What this machine has and lacks, and the one command that adds what is missing: every need of needs.toml."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

from grader.kit import Kit
from grader.needs import Need, look_for


def examine(kit: Kit) -> list[Need]:
    """All at once, since a tool that does not answer takes its whole time limit."""
    with ThreadPoolExecutor(max(1, len(kit.needs))) as pool:
        return list(pool.map(lambda name: look_for(kit, name), kit.needs))


def to_json(needs: list[Need]) -> str:
    """For a class: one object, so that an instructor can gather many."""
    return json.dumps({"needs": [asdict(n) for n in needs]}, indent=1) + "\n"
