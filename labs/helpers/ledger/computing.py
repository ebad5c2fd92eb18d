"""Claims about the two models of lab 01, computed in a process of their own from a workspace's store."""

from __future__ import annotations

from grader.model import Facts
from labs.helpers.ledger import served
from labs.helpers.ledger.experiment import Outcome, Place, Said, experiment

# 600 tickets that no one trained on: alone and in batches, prepared as in training and not.
COMPUTE = """
import json, sys
sys.path.insert(0, sys.argv[1])
import bentoml
from preprocess import prepare
from tickets import held_out

encoder = bentoml.picklable_model.load_model("demo_embedder:latest")
classifier = bentoml.sklearn.load_model("demo_classifier:latest")
texts, wanted = zip(*held_out(int(sys.argv[2])))

def scores(texts, size):
    return classifier.predict_proba(encoder.encode(list(texts), batch_size=size, show_progress_bar=False))

ready = prepare(texts)
alone, mixed, copied = scores(ready, 1), scores(ready, 32), scores(texts, 32)
named = [[str(classifier.classes_[row.argmax()]) for row in rows] for rows in (alone, mixed, copied)]
right = [sum(a == b for a, b in zip(labels, wanted)) for labels in named]
differ = [sum(a != b for a, b in zip(named[1], labels)) for labels in (named[0], named[2])]
print(json.dumps({"texts": len(texts), "labels_differ": differ[0],
                  "largest_difference": float(abs(alone - mixed).max()),
                  "flipped": differ[1], "right": right[1], "right_unprepared": right[2]}))
"""


def compute(place: Place) -> Facts:
    words = ["-c", COMPUTE, str(place.kit / "service"), "600"]
    done = served.python(place, words, place.scratch, BENTOML_HOME=str(place.store()))
    return dict(served.last_line(done))


def decide_alike(seen: Facts) -> Said:
    told = (
        f"{seen['labels_differ']} of {seen['texts']} labels differ, scores by {seen['largest_difference']:.1e} at most"
    )
    return Said(Outcome.REFUTED if seen["labels_differ"] else Outcome.CONFIRMED, told)


alike = experiment(decide_alike)(compute)


def decide_copied(seen: Facts) -> Said:
    told = (
        f"without the preprocessing {seen['flipped']} of {seen['texts']} labels flip, and {seen['right_unprepared']} "
    )
    told += f"instead of {seen['right']} are right"
    harmed = seen["right_unprepared"] < seen["right"]
    return Said(Outcome.CONFIRMED if seen["flipped"] and harmed else Outcome.REFUTED, told)


copied = experiment(decide_copied)(compute)
