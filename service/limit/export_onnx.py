"""Exports the stored encoder to ONNX, twice: float32, and with 8-bit weights. Prints what the two differ by.

    cd service && PYTHONPATH=. python limit/export_onnx.py FOLDER

It needs onnx and onnxruntime; BENTOML_HOME names the store. Pooling and normalising are in the graph, so the file
gives what `encode` gives. about.json says of which model it is, the cosines between both and torch's vectors on 600
held-out texts, and how many labels agree.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import bentoml
import numpy as np
import torch
from onnx_encoder import OnnxEncoder
from preprocess import prepare
from tickets import held_out

TEXTS = 600


class Pooled(torch.nn.Module):
    """The transformer, the mean over its tokens, length 1: all three modules of the SentenceTransformer."""

    def __init__(self, transformer: Any) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        states = self.transformer(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(states.dtype)
        mean = (states * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        return torch.nn.functional.normalize(mean, p=2.0, dim=1)


def export(encoder: Any, folder: Path) -> None:
    transformer = encoder[0].auto_model.eval()
    transformer.config._attn_implementation = "eager"
    given = (torch.ones(2, 16, dtype=torch.long), torch.ones(2, 16, dtype=torch.long))
    axes = {0: "texts", 1: "tokens"}
    torch.onnx.export(
        Pooled(transformer).eval(), given, str(folder / "onnx.onnx"), dynamo=False, opset_version=17,
        input_names=["input_ids", "attention_mask"], output_names=["rows"],
        dynamic_axes={"input_ids": axes, "attention_mask": axes, "rows": {0: "texts"}},
    )  # fmt: skip
    encoder.tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))


def quantise(folder: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(folder / "onnx.onnx", folder / "int8.onnx", weight_type=QuantType.QInt8, per_channel=True)


def compare(tag: str, encoder: Any, classifier: Any, folder: Path) -> dict[str, Any]:
    texts = prepare([text for text, _ in held_out(TEXTS)])
    right = encoder.encode(texts, batch_size=1, show_progress_bar=False)
    labels = classifier.predict_proba(right).argmax(axis=1)
    told: dict[str, Any] = {}
    for kind in ("onnx", "int8"):
        rows = OnnxEncoder(tag, kind, folder).encode(texts, batch_size=1)
        cosines = (rows * right).sum(axis=1)
        same = float((classifier.predict_proba(rows).argmax(axis=1) == labels).mean())
        size = round((folder / f"{kind}.onnx").stat().st_size / 1e6, 1)
        told[kind] = {
            "cosine_least": round(float(cosines.min()), 6), "cosine_mean": round(float(cosines.mean()), 6),
            "agreement": round(same, 4), "held_out": len(texts), "mb": size,
        }  # fmt: skip
    return told


def main(folder: Path) -> None:
    began = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    model = bentoml.models.get("demo_embedder:latest")
    encoder = bentoml.picklable_model.load_model(model.tag)
    classifier = bentoml.sklearn.load_model("demo_classifier:latest")
    with torch.inference_mode(), np.errstate(all="ignore"):
        export(encoder, folder)
        quantise(folder)
        about = {"tag": str(model.tag), "seconds": 0.0}
        (folder / "about.json").write_text(json.dumps(about))
        about |= compare(str(model.tag), encoder, classifier, folder)
    about["seconds"] = round(time.monotonic() - began, 1)
    (folder / "about.json").write_text(json.dumps(about, indent=1))
    print(json.dumps(about))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
