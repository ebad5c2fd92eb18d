"""Tokens and keys made anew at each run, under random names, in many encodings: all are found, and none in the
reference Bento, whose every line the search has to leave alone."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import lzma
import os
import random
import re
import secrets
import shutil
import subprocess
import sys
import tarfile
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from conftest import ROOT

from grader.world.secrets import SURPRISING, search, search_name, surprise

WORDS = ["alpha", "cargo", "delta", "ferry", "garden", "harbour", "island", "jacket", "kettle", "lantern", "meadow"]
KEYS = {
    "hex": lambda: secrets.token_hex(24),
    "urlsafe": lambda: secrets.token_urlsafe(30),
    "base64": lambda: base64.b64encode(secrets.token_bytes(30)).decode(),
    "base32": lambda: base64.b32encode(secrets.token_bytes(25)).decode(),
    "github": lambda: f"ghp_{secrets.token_hex(18)}",
    "aws": lambda: "AKIA" + "".join(random.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", k=16)),
    "private key": lambda: (
        "-----BEGIN RSA " + "PRIVATE KEY-----\n" + base64.encodebytes(secrets.token_bytes(300)).decode()
    ),
    "address": lambda: f"https://build:{secrets.token_urlsafe(9)}@index.example/simple",
    "password": lambda: f"db_password = '{random.choice(WORDS)}-{random.choice(WORDS)}-7'",
    "json": lambda: f'{{"apiKey": "{random.choice(WORDS)}{secrets.token_hex(4)}"}}',
}
ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "as it is": lambda data: data,
    "base64": base64.b64encode,
    "base64 in lines": base64.encodebytes,
    "urlsafe without padding": lambda data: base64.urlsafe_b64encode(data).rstrip(b"="),
    "base32": base64.b32encode,
    "hex": lambda data: data.hex().encode(),
    "percent": lambda data: "".join(f"%{b:02x}" for b in data).encode(),
    "backslashes": lambda data: "".join(f"\\x{b:02X}" for b in data).encode(),
    "UTF-16": lambda data: data.decode().encode("utf-16"),
    "twice base64": lambda data: base64.b64encode(base64.b64encode(data)),
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zip": lambda data: zipped(data),
    "tar.gz": lambda data: tarred(data),
    "base64 of gzip": lambda data: base64.b64encode(gzip.compress(data)),
}


def zipped(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("inner.txt", data)
    return out.getvalue()


def tarred(data: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as packed:
        entry = tarfile.TarInfo("inner.txt")
        entry.size = len(data)
        packed.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def planted(key: str) -> bytes:
    """The key among harmless lines, under a name that says nothing."""
    name = f"{random.choice(WORDS)}_{random.choice(WORDS)}"
    line = key if " = " in key or "\n" in key or key.startswith("{") else f'{name}: "{key}"'
    return f"# how the {random.choice(WORDS)} is set\nsize: 12\n{line}\n".encode()


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", KEYS)
def test_a_planted_key_is_found(kind: str, encoding: str) -> None:
    key = KEYS[kind]()
    where = f"src/{random.choice(WORDS)}-{secrets.token_hex(3)}.{random.choice(['txt', 'yml', 'py', 'cfg', 'dat'])}"
    found = search(where, ENCODINGS[encoding](planted(key)))
    assert found, f"a {kind} key, {encoding}, was not found"
    assert key not in "".join(map(str, found)), "a sighting must not carry the secret"


@pytest.mark.parametrize("kind", ["hex", "urlsafe", "github"])
def test_a_key_in_a_files_name_is_found(kind: str) -> None:
    key = KEYS[kind]()
    found = search_name(f"src/{random.choice(WORDS)}-{key}.txt")
    assert found and key not in str(found[0])


@pytest.mark.parametrize("name", [".env", "id_ed25519", "server.pem", "my_secret.txt", "apiToken.json", ".netrc"])
def test_a_secrets_usual_file_is_found_by_its_name(name: str) -> None:
    assert search_name(f"src/{name}")


@pytest.mark.parametrize("name", ["tokenizer.json", "preprocess.py", "bentoml_configuration.yml", "keyboard.py"])
def test_other_names_are_left_alone(name: str) -> None:
    assert not search_name(f"src/{name}")


def test_a_value_of_the_local_env_is_found_in_plain_words() -> None:
    known = frozenset(["wet parcels come torn"])
    assert [s.what for s in search("src/a.py", b"# try: wet parcels come torn\n", known)] == ["a value of service/.env"]


def test_a_name_before_the_name_hides_nothing() -> None:
    found = search("src/a.yml", b"# for the dashboard: password: swordfish7\n")
    assert [s.what for s in found] == ["a value called password"]


@pytest.mark.parametrize("name", ["password_reset.py", "prepare_token.py", "docs/token-types.md"])
def test_a_source_that_is_about_secrets_is_none(name: str) -> None:
    assert not search_name(f"src/{name}") and search_name(f"src/{name}".replace(".py", ".txt").replace(".md", ".json"))


SETTINGS = [
    f"git_commit: {secrets.token_hex(20)}", f'revision: "{secrets.token_hex(20)}"', f"run-id: {secrets.token_hex(16)}",
    f"trace: {uuid.uuid4()}", f"MLFLOW_RUN_ID={uuid.uuid4().hex}", "password: account", "reset_password: account-help",
    "HF_TOKEN_PATH: /run/secrets/hf_token", "API_KEY_FILE=/etc/keys/hub", "password_help: Forgot-it? write 2 us",
    "label: lentokonesuihkuturbiinimoottoriapumekaanikkoaliupseerioppilas", "word: przeciwwskazaniami",
    "place: llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch", "w: szczescieposzukiwaczka",
    "adjective: muvaffakiyetsizlestiricilestiriveremeyebileceklerimizdenmissinizcesine",
]  # fmt: skip


@pytest.mark.parametrize("line", SETTINGS, ids=lambda line: re.split("[ =:]", line)[0])
def test_ids_and_ordinary_words_are_left_alone(line: str) -> None:
    assert not search("src/a.yml", f"{line}\n".encode())
    assert not search("src/a.py", f"THING = {{{line!r}: 1}}\n".encode())


@pytest.mark.parametrize("line", [
    f"wandb: {secrets.token_hex(20)}", f"{secrets.token_hex(16)}", f"commit_token: {secrets.token_hex(20)}",
    "password: account7", "db_password: Summer-2024", f"token_id_key: {secrets.token_urlsafe(24)}",
    f"password = '{uuid.uuid4()}'",
], ids=lambda line: line.split(":")[0][:12])  # fmt: skip
def test_what_only_looks_like_an_id_is_found(line: str) -> None:
    assert search("src/a.yml", f"{line}\n".encode())


HARMLESS = [
    'FALLBACK = {"password": "account"}',
    "token = os.environ['HUB_TOKEN']", "password: ${DB_PASSWORD}", "API_KEY=<your key>", "tokenizers==0.23.3",
    "torch @ https://download.example/cpu/torch-2.13.0%2Bcpu-cp311-cp311-manylinux_2_28_x86_64.whl",
    "scikit-learn==1.9.1 --hash=sha256:" + "0123456789abcdef" * 4, "max_tokens = 256", "secret = None",
    "def get_token(request): return request.headers", "https://download.pytorch.org/whl/cpu",
    "/home/bentoml/bento/env/docker/entrypoint.sh", "from opentelemetry.sdk.trace import ConcurrentMultiSpanProcessor",
]  # fmt: skip


@pytest.mark.parametrize("line", HARMLESS)
def test_what_a_program_says_is_left_alone(line: str) -> None:
    assert not search("src/a.py", f"{line}\n".encode())


def test_random_letters_surprise_and_words_do_not() -> None:
    assert min(surprise(secrets.token_urlsafe(30)) for _ in range(2000)) > SURPRISING
    names = re.findall(r"[A-Za-z_]{20,}", Path(subprocess.__file__).read_text())
    assert max(map(surprise, names)) < SURPRISING


def test_a_large_file_is_searched_within_seconds() -> None:
    line = b"the parcel came wet and torn, and nobody knows why\n"
    found = search("src/sample.txt", line * 200_000 + b"k: " + secrets.token_hex(24).encode())
    assert [s.line for s in found] == [200_001]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reference service as a Bento, built in a folder and a store of its own."""
    folder = tmp_path_factory.mktemp("reference")
    shutil.copytree(ROOT / "service", folder / "service", ignore=shutil.ignore_patterns("__pycache__"))
    environ = {
        **os.environ,
        "BENTOML_HOME": str(folder / "store"),
        "OMP_NUM_THREADS": "1",
        "BENTOML_DO_NOT_TRACK": "True",
    }
    for words in (["save_models.py"], ["-m", "bentoml", "build"]):
        done = subprocess.run(
            [sys.executable, *words], cwd=folder / "service", env=environ, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-2000:]
    bentos = folder / "store" / "bentos" / "demo_text_intelligence"
    return bentos / (bentos / "latest").read_text()


@pytest.mark.slow
def test_nothing_is_found_in_the_reference_bento(reference: Path) -> None:
    files = [p for p in reference.rglob("*") if p.is_file()]
    assert len(files) > 15
    for path in files:
        name = path.relative_to(reference).as_posix()
        assert [*search_name(name), *search(name, path.read_bytes())] == []


@pytest.mark.slow
def test_a_key_planted_into_the_reference_bento_is_found(reference: Path) -> None:
    for _ in range(12):
        path = random.choice([p for p in reference.rglob("*") if p.is_file()])
        kind, encoding = random.choice(list(KEYS)), random.choice(["as it is", "base64", "hex", "percent"])
        data = path.read_bytes() + b"\n" + ENCODINGS[encoding](planted(KEYS[kind]())) + b"\n"
        assert search(path.relative_to(reference).as_posix(), data), f"{kind} in {encoding} in {path.name}"


def test_quoting_changes_nothing_about_a_key() -> None:
    assert search("src/a.txt", quote(f"k={secrets.token_hex(24)}").encode())
