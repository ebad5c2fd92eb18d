"""Claims about the model store: which version is loaded when, and what a model's signature decides."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import yaml

from grader.model import Facts
from labs.helpers.ledger import served
from labs.helpers.ledger.experiment import NotRun, Outcome, Place, Said, experiment

# Saves a model `thing` that gives back what it is called with; prints its tag.
SAVE = """
import json
import bentoml

def give_back(texts):
    return list(texts)

signatures = {"__call__": {"batchable": False}}
print(json.dumps(str(bentoml.picklable_model.save_model("thing", give_back, signatures=signatures).tag)))
"""
# Saves a text as the model `note`.
NOTE = "import sys, bentoml; bentoml.picklable_model.save_model('note', sys.argv[1])"
# Finds `note:latest`, lets another process save the next version, loads what it found, and finds and loads once more.
HOLDS = """
import json, subprocess, sys
import bentoml

def save(text):
    subprocess.run([sys.executable, "-c", sys.argv[1], text], check=True, capture_output=True)

save("first")
found = bentoml.models.get("note:latest")
save("second")
print(json.dumps({"loaded_late": found.load_model(), "found_late": bentoml.models.get("note:latest").load_model()}))
"""


def decide_latest(seen: Facts) -> Said:
    told = f"after a second save, what was found before it loads the {seen['loaded_late']} version, "
    told += f"and what is found again the {seen['found_late']}"
    as_said = (seen["loaded_late"], seen["found_late"]) == ("first", "second")
    return Said(Outcome.CONFIRMED if as_said else Outcome.REFUTED, told)


@experiment(decide_latest)
def latest(place: Place) -> Facts:
    return dict(served.last_line(served.python(place, ["-c", HOLDS, NOTE], place.scratch)))


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


# Saves a model `thing`, not batchable, that takes a moment and gives back, for each text, how many its call has.
COUNTING = """
import json, time
import bentoml

def count(texts):
    time.sleep(0.03)
    return [len(texts)] * len(texts)

signatures = {"__call__": {"batchable": False}}
print(json.dumps(str(bentoml.picklable_model.save_model("thing", count, signatures=signatures).tag)))
"""
CALLERS = 10


def decide_signature(seen: Facts) -> Said:
    told = f"one model saved as not batchable, {CALLERS} callers at once, a text each: its largest call has "
    told += f"{seen['stored']} by the store's runner, {seen['own']} by a Runnable that says batchable itself"
    if seen["stored"] > 1:
        return Said(Outcome.REFUTED, told)
    return Said(Outcome.DEPENDS if seen["own"] > 1 else Outcome.CONFIRMED, told)


@experiment(decide_signature)
def signature(place: Place) -> Facts:
    served.told(place, COUNTING)
    project = served.lay_out(place, "tiny_signed")
    with served.in_folder(project, place.scratch / "store") as server, ThreadPoolExecutor(CALLERS) as callers:
        answers = list(callers.map(lambda _: served.ask(server), range(10 * CALLERS)))
    rows = [answer.json() for answer in answers if answer is not None and answer.status_code == 200]
    if len(rows) < CALLERS:
        raise NotRun(f"{len(rows)} of {10 * CALLERS} requests were answered.", "Try it on a quiet machine.")
    return {runner: max(size for row in rows for size in row[runner]) for runner in ("stored", "own")}


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
