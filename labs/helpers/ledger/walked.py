"""Claims that a lab tries in a cluster, or over minutes: its measured predictions are read from a workspace's
answers.json. `./lab walk` makes them, and a learner's own workspace does."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from grader.model import Facts
from labs.helpers.ledger.experiment import Decide, Experiment, NotRun, Outcome, Place, Said, experiment


def read(place: Place, question: str) -> Facts:
    """{measured, measured_at, read, sha256} of that prediction, from the first workspace that has it. Raises NotRun."""
    for work in place.works:
        path = work / "answers.json"
        entry = json.loads(path.read_text()).get(question, {}) if path.is_file() else {}
        if "measured" in entry:
            data = hashlib.sha256(path.read_bytes()).hexdigest()
            return {"question": question, "measured": entry["measured"], "measured_at": entry["measured_at"],
                    "read": path.name, "sha256": data}  # fmt: skip
    raise NotRun(f"No workspace has measured {question}.", f"`./lab walk`, or do lab {question[:2]}.")


def measured(question: str) -> Callable[[Decide], Experiment]:
    """Marks a decision on what that prediction measured."""

    def make(decide: Decide) -> Experiment:
        def look(place: Place) -> Facts:
            return read(place, question)

        return experiment(decide)(look)

    return make


def decide(seen: Facts, told: str, refuted: bool, confirmed: bool = True) -> Said:
    """Refuted, or else confirmed, or else it depends."""
    outcome = Outcome.REFUTED if refuted else Outcome.CONFIRMED if confirmed else Outcome.DEPENDS
    return Said(outcome, told)


@measured("07b")
def real_budget(seen: Facts) -> Said:
    good = float(seen["measured"])
    return decide(seen, f"10 ms, 80 people, MiniLM: {good:.0f} of 100 answers are good ones", good < 90)


@measured("07c")
def real_lone(seen: Facts) -> Said:
    longer = float(seen["measured"])
    told = f"after a load of eighty people a lone request waits {longer:.1f} times as long as on a fresh server"
    return decide(seen, told, longer >= 1.2)


@measured("04b")
def edit(seen: Facts) -> Said:
    sent = float(seen["measured"])
    return decide(seen, f"one comment in preprocess.py: {sent:.0f} MB to send with BentoML's own Dockerfile", sent > 1)


@measured("04d")
def moved_tag(seen: Facts) -> Said:
    told = {
        "a": "both nodes run the new image",
        "b": "the node that had the tag runs the old image, the other one the new",
    }
    said = told.get(str(seen["measured"]), "the pull is refused")
    return decide(seen, said, seen["measured"] != "a")


@measured("05b")
def without_probes(seen: Facts) -> Said:
    told = {"a": "no answer, or one that came seconds late", "b": "answers in time", "c": "503 from the new pods"}
    return decide(seen, told[str(seen["measured"])], seen["measured"] != "b")


@measured("05c")
def forward(seen: Facts) -> Said:
    most = float(seen["measured"])
    return decide(
        seen, f"of forty requests through one port-forward {most:.0f} went to the busier of two pods", most > 36
    )


@measured("06b")
def runner_port(seen: Facts) -> Said:
    ran = seen["measured"] == "c"
    told = "a pickle from a pod of another namespace ran in the embedder" if ran else "a pickle of others did not run"
    return decide(seen, told, ran)


def decide_scale_first(seen: Facts) -> Said:
    best = {"a": "API server", "b": "classifier", "c": "embedder"}[str(seen["measured"])]
    told = f"twenty people, long tickets: a second {best} gives the most answers a second"
    rates = ", ".join(f"{name} {rate:.0f}" for name, rate in seen["rates"].items())
    return decide(seen, f"{told} ({rates})" if rates else told, best != "API server")


@experiment(decide_scale_first)
def scale_first(place: Place) -> Facts:
    """With the answers a second of each row, where lab 06 kept them."""
    entries = (entry_of(work, "06c") for work in place.works)
    return {**read(place, "06c"), "rates": next((e.get("rates", {}) for e in entries if "measured" in e), {})}


def entry_of(work: Path, question: str) -> Facts:
    path = work / "answers.json"
    return dict(json.loads(path.read_text()).get(question, {})) if path.is_file() else {}


@measured("06d")
def new_replica(seen: Facts) -> Said:
    count = float(seen["measured"])
    told = f"with the second pod ready, {count:.0f} of the API server's connections lead to it"
    return decide(seen, told, count == 0, count > 4)


@measured("06e")
def half_the_work(seen: Facts) -> Said:
    used = float(seen["measured"])
    return decide(seen, f"with half of the requests each of two pods uses {used:.0f}% of its CPU", used > 70)


@measured("06r")
def selector(seen: Facts) -> Said:
    told = {"a": "to the new version", "b": "half to each", "c": "to the old version"}[str(seen["measured"])]
    return decide(seen, f"requests on connections that were open go on {told}", seen["measured"] != "a")


@measured("08a")
def wrong_name(seen: Facts) -> Said:
    told = {"a": "an error", "b": "0", "c": "an empty result, and no error"}[str(seen["measured"])]
    return decide(seen, f"Prometheus answers {told}", seen["measured"] != "a")


@measured("11c")
def modern_loses(seen: Facts) -> Said:
    lost = float(seen["measured"])
    return decide(seen, f"of a hundred requests of thirty people {lost:.0f} are lost between its services", lost >= 1)


@measured("12d")
def tag_tells(seen: Facts) -> Said:
    told = {
        "a": "the image's digest changes, and no name of the model",
        "b": "the header, the metrics or another place names another model",
        "c": "only the file's hash and the scores change",
    }
    said = f"another classifier mounted over the released one: {told[str(seen['measured'])]}"
    return decide(seen, said, seen["measured"] != "b")
