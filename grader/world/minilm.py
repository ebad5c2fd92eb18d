"""MiniLM's embeddings for those who ask and compare, by NumPy: ready long before torch and sentence-transformers, which
the model in a store needs, have been imported.

The weights and the tokenizer are the checked ones of service/weights.py. What is done with them is what the model's
own modules.json says: a BERT, the mean of its tokens' rows, and each mean at length 1. tests/test_minilm.py holds the
vectors to those of sentence-transformers.

    load_minilm(ws).encode(["a text"])  # float32 (1, 384)
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grader.world.kit_modules import kit_module

AT_ONCE = 256  # tokens of one step: its arrays fit into a cache
STEPS = ["Transformer", "Pooling", "Normalize"]
TAIL = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)  # Abramowitz and Stegun 7.1.26
BERT = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}


def load_minilm(ws: Any) -> MiniLM:
    """The kit's own encoder, from weights that were checked."""
    return MiniLM(kit_module(ws, "weights").find_weights())


class MiniLM:
    """A model of sentence-transformers, from its folder. Raises ValueError for one that is made in another way."""

    def __init__(self, folder: Path) -> None:
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        config, pooling, limits = (
            json.loads((folder / name).read_text())
            for name in ("config.json", "1_Pooling/config.json", "sentence_bert_config.json")
        )
        steps = [step["type"].rpartition(".")[2] for step in json.loads((folder / "modules.json").read_text())]
        means = [name for name, on in pooling.items() if name.startswith("pooling_mode_") and on]
        if steps != STEPS or means != ["pooling_mode_mean_tokens"] or not config.items() >= BERT.items():
            raise ValueError(f"{folder} holds another kind of model")
        self.heads, self.epsilon = int(config["num_attention_heads"]), float(config["layer_norm_eps"])
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(int(limits["max_seq_length"]))
        self.words = load_file(folder / "model.safetensors")
        self.layers = [self.layer(f"encoder.layer.{i}.") for i in range(config["num_hidden_layers"])]

    def layer(self, name: str) -> dict[str, tuple[Any, Any]]:
        """(matrix, bias) of each step of a layer; what asks, answers and is told of a token in one matrix."""
        import numpy as np

        def part(step: str) -> tuple[Any, Any]:
            return self.words[f"{name}{step}.weight"].T, self.words[f"{name}{step}.bias"]

        three = [part(f"attention.self.{which}") for which in ("query", "key", "value")]
        return {
            "attend": (np.hstack([matrix for matrix, _ in three]), np.hstack([bias for _, bias in three])),
            "joined": part("attention.output.dense"), "wide": part("intermediate.dense"),
            "narrow": part("output.dense"), "first": part("attention.output.LayerNorm"),
            "second": part("output.LayerNorm"),
        }  # fmt: skip

    def encode(self, texts: Sequence[str]) -> Any:
        """A row of length 1 for each text. Texts of as many tokens go together, so that none is padded."""
        import numpy as np

        tokens = [self.tokenizer.encode(text).ids for text in texts]
        rows = np.empty((len(tokens), self.words["embeddings.word_embeddings.weight"].shape[1]), dtype=np.float32)
        for length in set(map(len, tokens)):
            alike, step = [i for i, ids in enumerate(tokens) if len(ids) == length], max(1, AT_ONCE // length)
            for some in (alike[at : at + step] for at in range(0, len(alike), step)):
                rows[some] = self.run(np.array([tokens[i] for i in some])).mean(axis=1)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def run(self, ids: Any) -> Any:
        """The rows of each token, (texts, tokens, 384), after all layers."""
        table = "embeddings.{}_embeddings.weight".format
        rows = self.words[table("word")][ids] + self.words[table("position")][: ids.shape[1]]
        rows += self.words[table("token_type")][0]
        rows = self.normalised(rows, tuple(self.words[f"embeddings.LayerNorm.{part}"] for part in ("weight", "bias")))
        for layer in self.layers:
            rows = self.normalised(rows + linear(self.attended(rows, layer), layer["joined"]), layer["first"])
            rows = self.normalised(rows + linear(gelu(linear(rows, layer["wide"])), layer["narrow"]), layer["second"])
        return rows

    def normalised(self, rows: Any, layer: tuple[Any, ...]) -> Any:
        """With mean 0 and variance 1, then scaled and moved as was learnt."""
        import numpy as np

        rows = rows - rows.mean(axis=-1, keepdims=True)
        rows /= np.sqrt(np.square(rows).mean(axis=-1, keepdims=True) + self.epsilon)
        return rows * layer[0] + layer[1]

    def attended(self, rows: Any, layer: dict[str, tuple[Any, Any]]) -> Any:
        """Each token's mean of all tokens' values, by how much it attends to them; head for head."""
        import numpy as np

        texts, tokens, size = rows.shape
        parts = linear(rows, layer["attend"]).reshape(texts, tokens, 3, self.heads, size // self.heads)
        query, key, value = parts.transpose(2, 0, 3, 1, 4)
        scores = query @ key.swapaxes(-1, -2) / np.float32(np.sqrt(size // self.heads))
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        return (shares @ value).swapaxes(1, 2).reshape(texts, tokens, size)


def linear(rows: Any, layer: tuple[Any, Any]) -> Any:
    """One large product: NumPy makes one for each text of a stack of them."""
    return (rows.reshape(-1, rows.shape[-1]) @ layer[0] + layer[1]).reshape(*rows.shape[:-1], -1)


def gelu(x: Any) -> Any:
    """x * (1 + erf(x / sqrt 2)) / 2, to float32's own rounding: the error function by Abramowitz and Stegun 7.1.26, off
    by 1.5e-7 at most. SciPy's takes longer than all products."""
    import numpy as np

    size = np.abs(x)
    near = 1 / (size * np.float32(0.3275911 * 0.5**0.5) + 1)
    beyond = near * np.float32(TAIL[0])
    for factor in TAIL[1:]:
        beyond += np.float32(factor)
        beyond *= near
    beyond *= np.exp(size * size * np.float32(-0.5))  # twice the share of a normal distribution beyond |x|
    beyond *= size * np.float32(0.5)
    return np.maximum(x, 0) - beyond
