"""The embedding runner with one process a core and one thread in each, instead of one process with a thread a core.

torch's threads wait for one another in every layer; a process with one thread waits for none. Whether callers gain by
it, and the memory that it costs (the model once more for each core): `./lab bench ladder` reports both.

EMBEDDER chooses what computes: "torch" (the default), "onnx" or "int8" (see onnx_encoder.py). EMBEDDER_NICE=5 lets
the API server, which everybody waits for, go first where cores are short.
"""

import os
from typing import Any

import bentoml
import runnable
from lengths import alike
from runnable import AT_ONCE, each_item

EMBEDDER, NICE = os.environ.get("EMBEDDER", "torch"), int(os.environ.get("EMBEDDER_NICE", "0"))


class OneThread(runnable.EmbeddingRunnable):
    SUPPORTS_CPU_MULTI_THREADING = False  # so BentoML starts one process a core, and gives each one thread

    def __init__(self, tag: str) -> None:
        os.nice(NICE)
        if EMBEDDER == "torch":
            super().__init__(tag)
        else:
            from onnx_encoder import OnnxEncoder

            self.encoder = OnnxEncoder(tag, EMBEDDER)

    @bentoml.legacy.Runnable.method(batchable=True, batch_dim=0)
    def encode(self, items: list[list[str]]) -> "list[Any]":
        """As the reference's. Texts of very different lengths are computed apart: one long one would have all others
        padded to its length, and everyone in the call wait."""
        return each_item(items, self.rows)

    def rows(self, texts: list[str]) -> Any:
        import numpy as np

        groups = alike(texts)
        parts = [
            self.encoder.encode([texts[i] for i in group], batch_size=AT_ONCE, show_progress_bar=False)
            for group in groups
        ]
        if len(parts) == 1:
            return parts[0] if groups[0] == list(range(len(texts))) else parts[0][np.argsort(groups[0])]
        return np.concatenate(parts)[np.argsort([i for group in groups for i in group])]


def embedding_runner(model: bentoml.Model) -> bentoml.legacy.Runner:
    return bentoml.legacy.Runner(
        OneThread, name="embeddingrunner", models=[model], runnable_init_params={"tag": str(model.tag)}
    )
