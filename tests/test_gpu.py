"""The embedding runner on a real GPU. Nowhere else can its execution be shown, so without one this is not run.

LAB_STRICT does not ask for it: no CI of the kit's has a GPU. It needs a CUDA build of torch in place of the CPU build;
seen passing on an NVIDIA H100 on 2026-11-27 (torch 2.11).
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import torch
from service_server import service_module

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="not run: no GPU that this torch can use")

TEXTS = [f"My parcel number {i} was charged twice and has not arrived" for i in range(256)]
CLOSE = 2e-3  # float32 on a GPU may use TF32 in matrix products: 10 bits of mantissa, summed over 384 numbers


@pytest.fixture(scope="module")
def runnable() -> Any:
    """The runner's Runnable, with the encoder that the store would give it."""
    module, weights = service_module("runnable"), service_module("weights")
    made = module.EmbeddingRunnable.__new__(module.EmbeddingRunnable)
    made.encoder = weights.load_encoder()
    made.encoder.to("cuda" if torch.cuda.is_available() else "cpu")
    return made


def test_it_computes_on_the_device(runnable: Any) -> None:
    before = torch.cuda.memory_allocated()
    runnable.encode([TEXTS[:32]])
    assert next(runnable.encoder.parameters()).device.type == "cuda"
    assert torch.cuda.max_memory_allocated() > before


def test_it_embeds_as_the_cpu_does(runnable: Any) -> None:
    (ours,) = runnable.encode([TEXTS])
    theirs = service_module("weights").load_encoder().encode(TEXTS, batch_size=32)
    assert ours.shape == (len(TEXTS), 384) and ours.dtype == np.float32
    assert np.abs(ours - theirs).max() < CLOSE


def test_it_says_how_fast_it_is(runnable: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A figure for the note, and no limit: a time proves nothing on a machine that is shared."""
    runnable.encode([TEXTS])  # warm-up
    rates = []
    for _ in range(5):
        began = time.perf_counter()
        runnable.encode([TEXTS])
        rates.append(len(TEXTS) / (time.perf_counter() - began))
    with capsys.disabled():
        print(f"\n{torch.cuda.get_device_name()}: {np.median(rates):.0f} texts/s, {min(rates):.0f} to {max(rates):.0f}")
