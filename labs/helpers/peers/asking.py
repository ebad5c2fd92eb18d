"""The forms in which peers are asked: where a request goes, what it says, where label and score are in its answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from labs.helpers.limit.contestant import TEXT

Answer = tuple[str, float]  # a label, and its score from 0 to 1


@dataclass(frozen=True)
class Form:
    """`body(text)` is sent to `path`; `read` raises LookupError, TypeError or ValueError for what is no answer."""

    path: str
    body: Callable[[str], Any]
    read: Callable[[Any], Answer]


def read_plain(said: Any) -> Answer:
    ((label,), (score,)) = said["labels"], said["scores"]
    return str(label), float(score)


def read_rows(said: Any) -> Answer:
    (row,) = said
    return str(row["label"]), float(row["score"])


def read_tensors(said: Any) -> Answer:
    data = {tensor["name"]: tensor["data"] for tensor in said["outputs"]}
    return read_plain(data)


def tensor_of(text: str) -> Any:
    return {"inputs": [{"name": "texts", "shape": [1], "datatype": "BYTES", "data": [text]}]}


def texts_of(text: str) -> Any:
    return {"texts": [text]}


FORMS = {
    "plain": Form("/classify", texts_of, read_plain),
    "rows": Form("/classify", texts_of, read_rows),
    "v2": Form("/v2/models/triage/infer", tensor_of, read_tensors),
}


def template(form: Form) -> str:
    """Its request as JSON with %TEXT% where the text goes, as the load's sender wants it."""
    return json.dumps(form.body(TEXT))
