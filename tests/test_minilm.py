"""MiniLM by NumPy gives sentence-transformers' vectors, whatever the text, and refuses a model of another kind."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grader.kit import Kit
from grader.workspace import Workspace
from grader.world.asker import fresh_texts, other_texts
from grader.world.kit_modules import kit_module
from grader.world.minilm import MiniLM, load_minilm

WS = Workspace(Kit(), Path("nowhere"))
EDGES = [
    "", " ", "\n\t", ".", "a", "é", "\x00", "\ufb01 \ufb00", "e\u0301", "🙂", "\U0001d4b3\U0001d538", "\u202eabc",
    "👩\u200d👩\u200d👧", "[CLS] [SEP] [PAD]", "##ing", "x" * 101,
    "word " * 253, "word " * 254, "word " * 255, "word " * 256, "word " * 900,  # [CLS], 254 tokens, [SEP]: the longest
]  # fmt: skip


def texts() -> list[str]:
    """Tickets, texts of other kinds, and letters from all over Unicode in texts of 1 to 2,000; some hundreds."""
    letters = [chr(c) for c in range(0x20, 0x3000) if chr(c).isprintable()] + [chr(c) for c in range(0x4E00, 0x4F00)]
    drawn = ["".join(random.choices(letters, k=size)) for size in [*range(1, 60), 200, 500, 2000]]
    return [*EDGES, *fresh_texts(WS, 150), *other_texts().values(), *drawn]


@pytest.mark.slow
def test_its_vectors_are_those_of_sentence_transformers() -> None:
    ours, theirs = load_minilm(WS).encode(asked := texts()), kit_module(WS, "weights").load_encoder().encode(asked)
    cosines, gaps = (ours * theirs).sum(axis=1), np.abs(ours - theirs).max(axis=1)
    assert len(asked) > 240 and ours.dtype == theirs.dtype == np.float32
    assert cosines.min() > 0.99999, asked[int(cosines.argmin())]
    assert gaps.max() < 2e-6, asked[int(gaps.argmax())]


def test_a_text_s_row_does_not_hang_on_its_neighbours() -> None:
    encoder, asked = load_minilm(WS), ["one", "word " * 40, "two", "three words here"]
    alone = np.vstack([encoder.encode([text]) for text in asked])
    assert np.abs(alone - encoder.encode(asked)).max() < 1e-6
    assert encoder.encode([]).shape == (0, 384)


def test_it_needs_no_torch() -> None:
    code = (
        "import sys; from pathlib import Path; from grader.kit import Kit; from grader.workspace import Workspace\n"
        "from grader.world.minilm import load_minilm\n"
        "load_minilm(Workspace(Kit(), Path('nowhere'))).encode(['a']); print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "sentence_transformers", "transformers"} & set(loaded)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("config.json", {"hidden_act": "relu"}),
        ("config.json", {"position_embedding_type": "relative_key"}),
        ("1_Pooling/config.json", {"pooling_mode_cls_token": True}),
        ("modules.json", None),
    ],
)
def test_a_model_of_another_kind_is_refused(tmp_path: Path, name: str, change: dict[str, Any] | None) -> None:
    given, folder = kit_module(WS, "weights").find_weights(), tmp_path / "model"
    shutil.copytree(given, folder, ignore=shutil.ignore_patterns("model.safetensors"))
    path = folder / name
    told = json.loads(path.read_text())
    path.write_text(json.dumps({**told, **change} if change else told[:-1]))
    with pytest.raises(ValueError, match="another kind of model"):
        MiniLM(folder)
