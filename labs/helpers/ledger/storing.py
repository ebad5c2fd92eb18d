"""Claims about the model store: which version is loaded when, and what a model's signature decides."""

from __future__ import annotations

import yaml

from grader.model import Facts
from labs.helpers.ledger import served
from labs.helpers.ledger.experiment import Outcome, Place, Said, experiment

# Saves a model `thing` that gives back what it is called with; prints its tag.
SAVE = """
import json
import bentoml

def give_back(texts):
    return list(texts)

signatures = {"__call__": {"batchable": False}}
print(json.dumps(str(bentoml.picklable_model.save_model("thing", give_back, signatures=signatures).tag)))
"""
# Finds `thing:latest`, lets another process save the next version, and asks what it has and what it would find again.
HOLDS = """
import json, subprocess, sys
import bentoml

first = bentoml.models.get("thing:latest")
subprocess.run([sys.executable, "-c", sys.argv[1]], check=True, capture_output=True)
again = bentoml.models.get("thing:latest")
print(json.dumps({"held": str(first.tag), "again": str(again.tag)}))
"""


def decide_latest(seen: Facts) -> Said:
    told = "a process that looked before the second save still has the first version"
    if seen["held"] != seen["first"]:
        return Said(
            Outcome.REFUTED, "what a process had found before the second save was the second version afterwards"
        )
    if seen["again"] == seen["first"]:
        return Said(Outcome.REFUTED, f"{told}, and so does one that looks again")
    return Said(Outcome.CONFIRMED, f"{told}; one that looks again finds the second")


@experiment(decide_latest)
def latest(place: Place) -> Facts:
    first = served.told(place, SAVE)
    done = served.python(place, ["-c", HOLDS, SAVE], place.scratch)
    return {"first": first, **served.last_line(done)}


def decide_recorded(seen: Facts) -> Said:
    told = f"bento.yaml records {'the first' if seen['recorded'] == seen['first'] else 'another'} version, and served "
    told += (
        f"from a store with a newer one, the Bento loads the {'first' if seen['served'] == seen['first'] else 'newer'}"
    )
    return Said(Outcome.CONFIRMED if seen["served"] == seen["recorded"] else Outcome.REFUTED, told)


@experiment(decide_recorded)
def recorded(place: Place) -> Facts:
    """A Bento is built, a newer model saved, and the Bento served from that store."""
    first = served.told(place, SAVE)
    project = served.lay_out(place, "tiny_recorded")
    (project / "bentofile.yaml").write_text("service: service:svc\npython: {lock_packages: false}\n")
    bento = served.build(place, project)
    about = yaml.safe_load((bento / "bento.yaml").read_text())
    served.told(place, SAVE)
    tag = f"{about['name']}:{about['version']}"
    with served.in_folder(None, place.scratch / "store", tag) as server:
        answer = served.ask(server)
    version = answer.json()["version"] if answer is not None else "none"
    return {"first": first, "recorded": about["models"][0]["tag"], "served": version}


def decide_signature(seen: Facts) -> Said:
    told = f"one model saved without a batchable signature: {seen['storedrunner']:g} batches by the store's runner, "
    told += f"{seen['ownrunner']:g} by a Runnable that says batchable itself"
    if not seen["ownrunner"]:
        return Said(Outcome.CONFIRMED, told)
    return Said(Outcome.REFUTED if seen["storedrunner"] else Outcome.DEPENDS, told)


@experiment(decide_signature)
def signature(place: Place) -> Facts:
    served.told(place, SAVE)
    project = served.lay_out(place, "tiny_signed")
    with served.in_folder(project, place.scratch / "store") as server:
        for _ in range(3):
            served.ask(server)
        seen = server.batches()
    return {name: seen.get(name, [0, 0])[0] for name in ("storedrunner", "ownrunner")}


# The devices that a runner of the store may be given.
RESOURCES = """
import json
import bentoml

runner = bentoml.picklable_model.get("thing:latest").to_runner(name="thingrunner")
print(json.dumps(list(runner.runnable_class.SUPPORTED_RESOURCES)))
"""


def decide_gpu(seen: Facts) -> Said:
    told = f"its SUPPORTED_RESOURCES: {', '.join(seen['resources'])}"
    return Said(Outcome.CONFIRMED if "nvidia.com/gpu" in seen["resources"] else Outcome.REFUTED, told)


@experiment(decide_gpu)
def gpu(place: Place) -> Facts:
    served.told(place, SAVE)
    return {"resources": served.told(place, RESOURCES)}
