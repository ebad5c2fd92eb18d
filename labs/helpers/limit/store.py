"""Both models, saved once by the reference service, and what the models themselves say of 600 held-out texts."""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import local
from urllib.parse import urlsplit

from grader.environ import child_environ
from grader.errors import LabError
from grader.kit import Kit
from grader.model import Facts
from grader.processes import run
from grader.workspace import locked, write_atomic
from labs.helpers.limit.contestant import WrongAnswers

TEXTS, CALLERS = 600, 24
JSON = {"Content-Type": "application/json"}
# Run in service/. The models are asked directly, one text at a time: no server, no batch.
TRUTH = f"""
import json, sys
import bentoml
from preprocess import prepare
from tickets import held_out
texts = [text for text, _ in held_out({TEXTS})]
encoder = bentoml.picklable_model.load_model("demo_embedder:latest")
classifier = bentoml.sklearn.load_model("demo_classifier:latest")
scores = classifier.predict_proba(encoder.encode(prepare(texts), batch_size=1, show_progress_bar=False))
labels = [str(classifier.classes_[row.argmax()]) for row in scores]
print(json.dumps({{text: label for text, label in zip(texts, labels)}}))
"""


class CannotPrepare(LabError):
    """What is measured could not be made: `output` is what its command said."""

    def __init__(self, what: str, output: str) -> None:
        super().__init__(f"{what} could not be made.", output)
        self.output = output


def service() -> Path:
    """The reference service: the kit's, since its own limit is looked for, not a learner's."""
    return Kit().root / "service"


def state() -> Path:
    return Kit().state / "limit"


def store() -> Path:
    """A BENTOML_HOME with both models; made at the first call, in some 5 s."""
    home = state() / "store"
    with locked(state().parent / "limit.lock", "the store with both models", print):
        if not (home / ".made").exists():
            home.mkdir(parents=True, exist_ok=True)
            environ = {**child_environ(), "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"}
            done = run([sys.executable, "save_models.py"], 180, service(), environ)
            if not done.ok:
                raise CannotPrepare("The store with both models", done.tail(4))
            (home / ".made").touch()
    return home


def truth() -> dict[str, str]:
    """The label of each held-out text, by the models alone."""
    path, home = state() / "truth.json", store()
    if not path.exists():
        environ = {**child_environ(), "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"}
        done = run([sys.executable, "-W", "ignore", "-c", TRUTH], 180, service(), environ)
        if not done.ok:
            raise CannotPrepare("The labels of the held-out texts", done.tail(4))
        write_atomic(path, done.stdout.splitlines()[-1].encode())
    return dict(json.loads(path.read_text()))


def agreeing(name: str, least: float, count: int = TEXTS) -> Callable[[str], Facts]:
    """A contestant's check: asks for so many held-out texts, 24 at a time, and wants that share of equal labels."""

    def check(url: str) -> Facts:
        right = dict(list(truth().items())[:count])
        said = ask_all(url, list(right))
        same = sum(said[text] == label for text, label in right.items()) / len(right)
        if same < least:
            found = f"{1 - same:.1%} of {len(right)} held-out texts otherwise"
            raise WrongAnswers(name, found, f"wants {least:.1%} alike")
        return {"agreement": round(same, 4), "held_out": len(right)}

    return check


def ask_all(url: str, texts: Sequence[str]) -> dict[str, str]:
    """The label of each text, or in words why there is none."""
    place, own = urlsplit(url), local()

    def ask(text: str) -> str:
        if not hasattr(own, "connection"):
            own.connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)
        try:
            own.connection.request("POST", "/classify", json.dumps({"texts": [text]}), JSON)
            answer = own.connection.getresponse()
            body = answer.read()
            return str(json.loads(body)["labels"][0]) if answer.status == 200 else f"status {answer.status}"
        except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError) as broken:
            own.connection.close()
            return f"{type(broken).__name__}: {broken}"

    with ThreadPoolExecutor(CALLERS) as pool:
        return dict(zip(texts, pool.map(ask, texts), strict=True))
