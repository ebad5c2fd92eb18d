"""Loads a Bento and asks it, in a process that has the Bento alone: `python -m grader.world.bento_try TAG OUT`."""

from __future__ import annotations

import asyncio
import json
import sys
import warnings
from pathlib import Path
from typing import Any

from grader.model import Facts

TEXTS = ["I was charged $49.99 twice for order #84213.", "My parcel AB-55102 has been in transit for two weeks."]


def main(tag: str, out: str) -> None:
    warnings.simplefilter("ignore")
    facts: Facts = {"problem": "", "loads": {}, "answer": None}
    try:
        load_and_ask(tag, facts)
    except BaseException as broken:
        # all of it is the submission's code, SystemExit included
        facts["problem"] = f"{type(broken).__name__}: {(str(broken).strip().splitlines() or [''])[0][:200]}"
    Path(out).write_text(json.dumps(facts, default=str))


def load_and_ask(tag: str, facts: Facts) -> None:
    import bentoml

    svc: Any = bentoml.load(tag)
    models = [m for runner in svc.runners for m in runner.models] + list(svc.models)
    facts["loads"] = {m.tag.name: str(m.tag) for m in models}
    for runner in svc.runners:
        runner.init_local(quiet=True)
    api = svc.apis["classify"]
    answer = api.func({"texts": TEXTS})
    facts["answer"] = asyncio.run(answer) if asyncio.iscoroutine(answer) else answer


if __name__ == "__main__":
    main(*sys.argv[1:])
