"""MiniLM in ONNX Runtime: `encode` as SentenceTransformer has it, from a file that export_onnx.py made. No torch in the
process, so it needs less memory, and one thread: BentoML starts a process a core.

ONNX_MODELS names the folder; `kind` is "onnx" (float32) or "int8" (8-bit weights, activations quantised at each call).
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FOLDER = "ONNX_MODELS"
TOKENS = 256  # what SentenceTransformer reads of a text with this model


class WrongExport(RuntimeError):
    """The exported model is of another encoder than the one that is served."""


class OnnxEncoder:
    def __init__(self, tag: str, kind: str, folder: Path | None = None) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        folder = folder or Path(os.environ[FOLDER])
        about = json.loads((folder / "about.json").read_text())
        if about["tag"] != tag:
            raise WrongExport(f"{folder} was exported from {about['tag']}, not from {tag}; run export_onnx.py again")
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(TOKENS)
        self.tokenizer.enable_padding()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(folder / f"{kind}.onnx"), options, ["CPUExecutionProvider"])

    def encode(self, texts: Sequence[str], batch_size: int = 32, show_progress_bar: bool = False) -> Any:
        """float32 (texts, 384), each row of length 1."""
        import numpy as np

        parts = [self.compute(texts[at : at + batch_size]) for at in range(0, len(texts), batch_size)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def compute(self, texts: Sequence[str]) -> Any:
        import numpy as np

        found = self.tokenizer.encode_batch(list(texts))
        given = {
            "input_ids": np.array([one.ids for one in found], dtype=np.int64),
            "attention_mask": np.array([one.attention_mask for one in found], dtype=np.int64),
        }
        (rows,) = self.session.run(None, given)
        return rows
