"""The two runners that the kit recommends: a call carries one request's texts as ONE item.

`encode([["a", "b"]])` counts as 1 for BentoML's dispatcher, however many texts the item holds. The dispatcher of 1.4.39
divides a call that does not fit into what is left of a batch, and dividing fails and locks the method for good; a call
that counts as 1 always fits, at any max_batch_size, burst or number of API servers. So max_batch_size counts requests.

Against the runners that the store gives (service_per_text.py): one inner HTTP request for each request and runner, not
for each text; one process and one copy of the encoder, not one a core; and a GPU, which `picklable_model` never uses
(its SUPPORTED_RESOURCES is cpu). Measured by experiments/runnable_vs_picklable.py.
"""

import os
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import bentoml

if TYPE_CHECKING:  # the API server's processes import this file too, and need neither numpy's nor torch's memory
    import numpy as np

AT_ONCE = 32  # texts that the model computes together; `encode` sorts by length first, so that little is padding

# While one torch thread waits for another, OpenMP lets it spin. Where cores are shared (with the API server, with other
# pods), the spinner keeps the thread that it waits for off its core: 25 texts/s in place of 64, one at a time, beside a
# neighbour that keeps one of two cores busy (experiments/threads.py). OpenMP reads this when torch is loaded, so it
# stands here, before anything loads torch.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


class EmbeddingRunnable(bentoml.legacy.Runnable):
    SUPPORTED_RESOURCES = ("nvidia.com/gpu", "cpu")
    SUPPORTS_CPU_MULTI_THREADING = True  # one process with a thread a core

    def __init__(self, tag: str) -> None:
        """Open the stored encoder in the runner's own process, on the GPU if BentoML gave that process one."""
        import torch

        self.encoder = bentoml.picklable_model.load_model(tag)
        self.encoder.to("cuda" if torch.cuda.is_available() else "cpu")

    @bentoml.legacy.Runnable.method(batchable=True, batch_dim=0)
    def encode(self, items: list[list[str]]) -> "list[np.ndarray]":
        """Return for each item float32 (its texts, 384), each row of length 1. No item is empty."""
        return each_item(items, lambda texts: self.encoder.encode(texts, batch_size=AT_ONCE, show_progress_bar=False))


class ClassifierRunnable(bentoml.legacy.Runnable):
    SUPPORTED_RESOURCES = ("cpu",)
    SUPPORTS_CPU_MULTI_THREADING = True

    def __init__(self, tag: str) -> None:
        self.classifier = bentoml.sklearn.load_model(tag)

    @bentoml.legacy.Runnable.method(batchable=True, batch_dim=0)
    def predict_proba(self, items: "list[np.ndarray]") -> "list[np.ndarray]":
        """Return for each item of (n, 384) the probabilities (n, classes), columns in the order of `classes_`."""
        return each_item(items, self.classifier.predict_proba)


def each_item(items: Sequence, compute: "Callable[[list], np.ndarray]") -> "list[np.ndarray]":
    """Compute the rows of all items in one call, and cut the result into one array an item, in order."""
    rows = compute([row for item in items for row in item])
    return [rows[start:end] for start, end in pairwise(accumulate(map(len, items), initial=0))]


def embedding_runner(model: bentoml.Model) -> bentoml.legacy.Runner:
    return _runner(EmbeddingRunnable, "embeddingrunner", model)


def classifier_runner(model: bentoml.Model) -> bentoml.legacy.Runner:
    return _runner(ClassifierRunnable, "classifierrunner", model)


def _runner(runnable: type[bentoml.legacy.Runnable], name: str, model: bentoml.Model) -> bentoml.legacy.Runner:
    # `name` in lowercase: with capitals some keys of the configuration are not applied. `models`: what a Bento holds.
    return bentoml.legacy.Runner(runnable, name=name, models=[model], runnable_init_params={"tag": str(model.tag)})
