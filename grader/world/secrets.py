"""Searches bytes for secrets: known forms, values that a name calls secret, and letters that nobody would write.

    search("src/settings.py", data) -> [Sighting("src/settings.py", 3, "a GitHub token", "ghp_..., 40 characters")]

What is packed (gzip, bz2, xz, zip, tar) or encoded (base64, base32, hex, percent, \\x, UTF-16) is opened first, several
layers deep. Found nothing proves little: a secret cut in pieces, or one that is an English word, looks like any text.
No sighting carries a secret itself, since reports are mailed around.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import bz2
import contextlib
import gzip
import http.client
import io
import lzma
import math
import os
import pydoc
import re
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

DEPTH = 4  # an encoding in an archive in an encoding: nobody does more by accident
ROOM = 128 << 20  # bytes that a packed file may grow to: beyond, it is looked at as it is
MOST = 8 << 20  # bytes: of a larger file the beginning and the end are read; sc3 asks anyway what it is for
RANDOM = "letters without a meaning, as in a key or an encoded text"
SURPRISING = 5.5  # bits a letter; English and code reach 5.3, random letters are seldom below 6

FORMS = {
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY",
    "an AWS access key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a GitHub token": r"\b(?:gh[pousr]_\w{20,}|github_pat_\w{20,})",
    "a GitLab token": r"\bglpat-[\w-]{16,}",
    "a Slack token": r"\bxox[abeoprs]-[\w-]{10,}",
    "a Google key": r"\bAIza[\w-]{30,}",
    "a Hugging Face token": r"\bhf_[A-Za-z0-9]{20,}",
    "an OpenAI or Anthropic key": r"\bsk-(?=[\w-]*\d)[\w-]{20,}",
    "a PyPI or npm token": r"\b(?:pypi-Ag[\w-]{18,}|npm_[A-Za-z0-9]{20,})",
    "a Stripe key": r"\b[rs]k_(?:live|test)_\w{10,}",
    "a JSON web token": r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}",
    "a password in an address": r"(?<=://)(?:[^/\s:@'\"]*:[^/\s@'\"${<*][^/\s@'\"]*|[\w.~-]{12,})(?=@)",
    "a header with credentials": r"(?i:\b(?:bearer|basic) +)[\w.~+/=-]{12,}",
}
VAGUE = ("a password in an address", "a header with credentials")  # packages explain them to people
# One of these is in each of the others.
SIGNS = (b"PRIVATE KEY", b"AKIA", b"ASIA", b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_", b"github_pat_", b"glpat-",
         b"xox", b"AIza", b"hf_", b"sk-", b"pypi-", b"npm_", b"k_live_", b"k_test_", b"eyJ")  # fmt: skip
FORM = {what: re.compile(pattern) for what, pattern in FORMS.items()}

SECRET_WORDS = {"token", "secret", "password", "passwd", "passphrase", "pwd", "apikey", "credential", "credentials"}
PASS_OF = {"db", "user", "admin", "root", "smtp", "mail", "redis", "pg", "postgres", "mysql", "ftp", "proxy", "login"}
SECRET_KEYS = {"api", "private", "access", "secret", "signing", "encryption", "ssh"}  # before the word "key"
NAMED = re.compile(
    r"""(?<![\w.-])(?P<name>[A-Za-z_][\w.-]*+)["']?\s*[:=](?!=)\s*(?=(?P<quote>["']?)(?P<value>[^\s"',;}\]]{6,}))"""
)
# The same in two lines, as Kubernetes and BentoML have it: {name: DB_PASSWORD, value: ...}.
PAIRED = re.compile(
    r"""\bname["']?\s*[:=]\s*["']?(?P<name>[A-Za-z_][\w.-]*)["']?\s*,?\s*["']?value["']?\s*[:=]\s*(?=(?P<quote>["']?)(?P<value>[^\s"',;}\]]{6,}))"""
)
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
PLACEHOLDER = re.compile(r"[$<{*%(\[]|(?i:none|null|true|false|changeme|your|example|os\.|\.\.\.)")
# What stands in a template's Secret until it is filled in: a password in code is judged more strictly.
UNFILLED = re.compile(
    r"(?i)[$<{*]|%[({sd]|\.{3}|changeme|your|(?:change|replace|insert|fill|todo|placeholder|example)(?=[-_. ]|$)"
    r"|(?:none|null|true|false|x{3,})$"
)

# A value in plain small words is a label or a sentence; a path or an address names where something is.
ORDINARY = re.compile(r"[A-Za-z]?[a-z]+(?:[-_ ./][a-z]+)*[.!?]?|~?\.{0,2}/[\w./-]+|https?://[^@\s]+")
# Known to all by intent, whatever its name says: a key's public half, and its fingerprint.
PUBLIC = re.compile(
    r"SHA256:[A-Za-z0-9+/]{43}=?|MD5:[0-9a-f:]{47}|(?:sk-)?(?:ssh|ecdsa)-[\w.@-]+|AAAA[A-Za-z0-9+/]{40,}={0,2}"
)
# After a secret word: not the secret itself.
ABOUT = {"path", "file", "dir", "folder", "url", "name", "names", "env", "field", "header", "length", "count", "limit",
         "type", "kind", "ttl", "help", "hint", "label", "reset"}  # fmt: skip
# Names of ids, each of which looks like random letters: commits, UUIDs, runs of an experiment.
ID_WORDS = {
    "commit",
    "version",
    "sha",
    "revision",
    "rev",
    "ref",
    "id",
    "uuid",
    "guid",
    "run",
    "digest",
    "checksum",
    "hash",
    "etag",
}
ID = re.compile(r"(?i)(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
ID_NAMED = re.compile(r"""([A-Za-z_][\w.-]*)\\*["']?\s*[:=]?\s*\\*["']?$""")  # in JSON in JSON, too
PLAIN = re.compile(r"[A-Z]?[a-z_/-]+")  # words of any language; only the strangest letters are no word
PLAIN_SURPRISING = 8.0

SECRET_FILES = re.compile(
    r"(?i)\.env(\..*)?|\.envrc|id_(rsa|dsa|ecdsa|ed25519).*|.*\.(pem|key|p12|pfx|jks|keystore|kdbx|ppk|asc|gpg)|"
    r"\.(netrc|pypirc|npmrc|pgpass|htpasswd|git-credentials|dockercfg)|kubeconfig.*|service[-_]account.*\.json"
)
LONG = 20  # letters; shorter ones are found only by what stands before them
RUN = re.compile(rf"[A-Za-z0-9+/_=~-]{{{LONG},}}")
WHEEL = r"(?:(?:%2B|\+)[\w.]{1,12})?-(?:cp|py)\d[\w.]{0,12}-(?:cp\d|abi\d|none)\w{0,4}-[\w.]{3,60}\.whl\b"
# of a package or an image
PIN = re.compile(rf"sha(?:256|384|512)[:=][0-9a-f]+|^[\w.-]+(?:\[[\w,-]*\])?==|{WHEEL}", re.M)
ESCAPED = re.compile(r"(?:(?:%|\\x|\\u00)[0-9A-Fa-f]{2}){8,}")


@dataclass(frozen=True)
class Sighting:
    """A place that looks like a secret; `shown` is its beginning and its length."""

    where: str
    line: int
    what: str
    shown: str

    def __str__(self) -> str:
        at = f", line {self.line}" if self.line else ""
        return f"{self.where}{at}: {self.what} ({self.shown})"


def search(where: str, data: bytes, known: frozenset[str] = frozenset()) -> list[Sighting]:
    """Every sighting in that content. `known`: values that are secret for certain, such as those of a local .env."""
    found: dict[tuple[int, str], Sighting] = {}
    if len(data) > 2 * MOST:
        data = data[:MOST] + b"\n" + data[-MOST:]
    for text, layer in layers(data, DEPTH):
        for line, what, value in sightings(text, known, code=where.endswith((".py", ".ipynb"))):
            at = 0 if layer else line  # a line number means nothing in what had to be opened first
            told = f"{what}, in {layer}" if layer else what
            found.setdefault((at, masked(value)), Sighting(where, at, told, masked(value)))
    return sorted(found.values(), key=lambda s: s.line)


def search_certain(where: str, data: bytes) -> list[Sighting]:
    """Sightings of the forms that are nothing else, in the content as it is: fast, for what packages bring."""
    if not any(sign in data for sign in SIGNS):
        return []
    text = data.decode("utf-8", "replace")
    found = [(kind, *m.span()) for kind, pattern in FORM.items() if kind not in VAGUE for m in pattern.finditer(text)]
    return [Sighting(where, text.count("\n", 0, a) + 1, kind, masked(text[a:b])) for kind, a, b in found]


def search_manifest(where: str, data: bytes) -> list[Sighting]:
    """Values that are secret by their place in a Kubernetes manifest, even in plain words: those of a Secret, of what
    makes one, and of a variable whose name says so. What sops has encrypted is none."""
    found = []
    for text in re.split(r"^---.*$", data.decode("utf-8", "replace"), flags=re.M):
        with contextlib.suppress(yaml.YAMLError, RecursionError):
            found += [(name, value) for name, value in _held(yaml.safe_load(text)) if not UNFILLED.match(value)]
    return [Sighting(where, 0, f"a value of a Secret, {name}", masked(value)) for name, value in found if value]


def secret_values(thing: Any, read: Callable[[str], str] = lambda name: "") -> list[str]:
    """Names of what an object, or a list of them, keeps in Secrets or makes them of, with a value; what is still to be
    filled in has none. `read` gives the text of a file that a secretGenerator names: whoever has the folder has it."""
    thing = _table(thing)
    if "sops" in thing:
        return []
    own = [name for name, value in _in_secrets(thing, read) if value and not UNFILLED.match(value)]
    return [*own, *(name for item in _rows(thing.get("items")) for name in secret_values(item, read))]


def _held(thing: Any) -> Iterator[tuple[str, str]]:
    """(name, value) of what a manifest's objects keep as secrets."""
    if isinstance(thing, list):
        for part in thing:
            yield from _held(part)
    if not isinstance(thing, dict) or "sops" in thing:
        return
    yield from _in_secrets(thing)
    name, value = thing.get("name"), thing.get("value")
    if isinstance(name, str) and isinstance(value, str) and says_secret(name) and "/" not in value:
        yield name, value
    yield from _held([part for part in thing.values() if isinstance(part, dict | list)])


def _in_secrets(thing: dict[Any, Any], read: Callable[[str], str] = lambda name: "") -> Iterator[tuple[str, str]]:
    """(name, value) of a Secret's data, and of what kustomize makes one of."""
    if thing.get("kind") == "Secret":
        yield from ((str(k), str(v)) for k, v in _table(thing.get("stringData")).items() if v is not None)
        yield from ((str(k), _opened(str(v))) for k, v in _table(thing.get("data")).items() if v is not None)
    for maker in _rows(thing.get("secretGenerator")):
        yield from _generated(_table(maker), read)


def _generated(maker: dict[Any, Any], read: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    """(name, value) of an entry of a secretGenerator: its literals, lines of its env files, and its files."""
    files = [str(name) for name in (maker.get("env") or "", *_rows(maker.get("envs")))]
    lines = [*map(str, _rows(maker.get("literals"))), *(line for name in files for line in read(name).splitlines())]
    for key, _, literal in (line.partition("=") for line in lines if not line.lstrip().startswith("#")):
        yield key, literal.strip("'\"")
    for key, _, name in (str(one).partition("=") for one in _rows(maker.get("files"))):
        yield key, read(name or key).strip()


def _rows(thing: Any) -> list[Any]:
    return thing if isinstance(thing, list) else []


def _table(thing: Any) -> dict[Any, Any]:
    return thing if isinstance(thing, dict) else {}


def _opened(value: str) -> str:
    """What a Secret's `data` says; as it is where it is no base64."""
    try:
        return base64.b64decode(value, validate=True).decode().strip()
    except ValueError:
        return value


def search_name(path: str, known: frozenset[str] = frozenset()) -> list[Sighting]:
    """A path that names a secret's usual file, says a secret word, or holds a secret itself."""
    file = PurePosixPath(path)
    words = {w.lower() for w in WORD.findall(str(file))}
    if SECRET_FILES.fullmatch(file.name):
        return [Sighting(path, 0, "a file of this name keeps secrets", file.name)]
    said = words & SECRET_WORDS
    if said and not (file.suffix in (".py", ".md", ".rst", ".html") and set(_words(file.stem)) - SECRET_WORDS):
        return [Sighting(path, 0, f"its name says {said.pop()!r}", file.name)]
    inside = next(iter(sightings(str(file), known, code=True)), None)
    if inside is None:
        return []
    shown = path.replace(inside[2].rpartition("/")[2], masked(inside[2].rpartition("/")[2]))
    return [Sighting(shown, 0, f"its name holds {inside[1]}", masked(inside[2]))]


def masked(value: str) -> str:
    return f"{value[:4]}..., {len(value)} characters"


def sightings(text: str, known: frozenset[str], code: bool) -> Iterator[tuple[int, str, str]]:
    """(line, what it is, the text itself), the surest kind first."""
    seen: list[tuple[int, int]] = []

    def fresh(start: int, end: int) -> bool:
        return not any(a < end and start < b for a, b in seen) and not seen.append((start, end))  # type: ignore[func-returns-value]

    for kind, start, end in [*_certain(text, known), *_named(text, code), *_surprising(text)]:
        if fresh(start, end):
            yield text.count("\n", 0, start) + 1, kind, text[start:end]


def _certain(text: str, known: frozenset[str]) -> Iterator[tuple[str, int, int]]:
    for value in known:
        if (at := text.find(value)) >= 0:
            yield "a value of service/.env", at, at + len(value)
    for what, pattern in FORM.items():
        for match in pattern.finditer(text):
            yield what, *match.span()


def _named(text: str, code: bool) -> Iterator[tuple[str, int, int]]:
    """`password = "..."`, `api_key: ...`, `TOKEN=...`. In code only a quoted value is one; the rest are expressions."""
    for match in [*NAMED.finditer(text), *PAIRED.finditer(text)]:
        if not says_secret(match["name"]) or PLACEHOLDER.match(match["value"]) or PUBLIC.fullmatch(match["value"]):
            continue
        if (match["quote"] or not code) and not ORDINARY.fullmatch(match["value"]):
            yield f"a value called {match['name']}", *match.span("value")


def says_secret(name: str) -> bool:
    """Whether a variable's name says so: API_KEY, apiToken, db.password; not tokenizers, not keyboard."""
    words = _words(name)
    pairs = pairwise(words)
    secret = bool(SECRET_WORDS & set(words)) or any(
        (b == "key" and a in SECRET_KEYS) or (b in ("pass", "pw") and a in PASS_OF) for a, b in pairs
    )
    return secret and words[-1] not in ABOUT


def _words(name: str) -> list[str]:
    return [w.lower() for w in WORD.findall(name)] or [""]


def _surprising(text: str) -> Iterator[tuple[str, int, int]]:
    text = PIN.sub(lambda m: " " * len(m[0]), text)
    for match in RUN.finditer(text):
        usual = PLAIN_SURPRISING if PLAIN.fullmatch(match[0]) else SURPRISING
        if surprise(match[0][:4096]) > usual and not is_id(text, match):
            yield RANDOM, *match.span()


def is_id(text: str, match: re.Match[str]) -> bool:
    """Whether that run has an id's form, and stands after a name that says so (`git_commit: ...`)."""
    before, _, run = match[0].rpartition("=")
    if not ID.fullmatch(run):
        return False
    line = (text[max(match.start() - 60, 0) : match.start()] + before).rpartition("\n")[2]
    name = ID_NAMED.search(line)
    return "-" in run or bool(name and ID_WORDS & set(_words(name[1])))


def surprise(run: str) -> float:
    """Bits a letter: how little one would expect each letter after the one before it, in English or in code."""
    pairs, singles = _usual()
    inside = [(a, b) for a, b in pairwise(run) if a.isalnum() and b.isalnum() and not (a.islower() and b.isupper())]
    bits = [math.log2((singles[a] + 64) / (pairs[a, b] + 1)) for a, b in inside]
    return sum(bits) / max(len(bits), LONG - 6)  # of a path or a row of dashes too little is left to say anything


@cache
def _usual() -> tuple[Counter[tuple[str, str]], Counter[str]]:
    """Which letter follows which, in some of the standard library's sources; in capitals as in small letters."""
    text = "".join(
        Path(str(m.__file__)).read_text(encoding="utf-8") for m in (argparse, os, tarfile, http.client, pydoc)
    )
    text += text.upper()
    return Counter(pairwise(text)), Counter(text)


def layers(data: bytes, depth: int) -> Iterator[tuple[str, str]]:
    """The content as text, and each text that is packed or encoded in it, with the name of the last layer."""
    for text in as_texts(data):
        yield text, ""
        if depth:
            for kind, inner in decoded(text):
                yield from ((t, layer or kind) for t, layer in layers(inner, depth - 1))
    if depth:
        for kind, inner in unpacked(data):
            yield from ((t, layer or kind) for t, layer in layers(inner, depth - 1))


def as_texts(data: bytes) -> Iterator[str]:
    """As UTF-8 (bytes that are none become a mark), and as UTF-16 where every other byte is zero."""
    yield data.decode("utf-8", "replace")
    zeros = data[:2000].count(0)
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or zeros * 3 > min(len(data), 2000):
        for kind in ("utf-16-le", "utf-16-be"):
            yield data.decode(kind, "replace")


def decoded(text: str) -> Iterator[tuple[str, bytes]]:
    """What an encoded run says, if it says something readable (or packed) at all."""
    for match in ESCAPED.finditer(text):
        yield "escapes", bytes.fromhex(re.sub(r"%|\\x|\\u00", "", match[0]))
    for match in re.finditer(r"[A-Za-z0-9+/_-]{16,}(?:\s*\n[A-Za-z0-9+/_-]{16,})*={0,6}", text):
        run = re.sub(r"\s|=", "", match[0])
        for kind, decode in DECODERS.items():
            with contextlib.suppress(ValueError, binascii.Error):
                inner = decode(run)
                if is_text(inner) or inner[:2] in (b"\x1f\x8b", b"BZ", b"PK") or inner[:4] == b"\xfd7zX":
                    yield kind, inner


def is_text(data: bytes) -> bool:
    return len(data) >= 8 and sum(32 <= b < 127 or b in (9, 10, 13) for b in data) > 0.95 * len(data)


DECODERS: dict[str, Callable[[str], bytes]] = {
    "hex": lambda run: bytes.fromhex(run),
    "base32": lambda run: base64.b32decode(run + "=" * (-len(run) % 8)),
    "base64": lambda run: base64.b64decode(
        run.replace("-", "+").replace("_", "/") + "=" * (-len(run) % 4), validate=True
    ),
}


def unpacked(data: bytes) -> Iterator[tuple[str, bytes]]:
    """What is in a packed file; a broken one has nothing in it that could be used."""
    openers: dict[bytes, tuple[str, Any]] = {
        b"\x1f\x8b": ("gzip", gzip.open),
        b"BZ": ("bz2", bz2.open),
        b"\xfd7": ("xz", lzma.open),
    }
    with contextlib.suppress(OSError, EOFError, ValueError, zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError):
        if kind := openers.get(data[:2]):
            yield kind[0], kind[1](io.BytesIO(data)).read(ROOM)
        elif data[:4] == b"PK\x03\x04":
            with zipfile.ZipFile(io.BytesIO(data)) as packed:
                yield from (("zip", packed.open(i).read(ROOM)) for i in packed.infolist() if not i.is_dir())
        elif data[257:262] == b"ustar":
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                yield from (("tar", file.read(ROOM)) for m in archive if (file := archive.extractfile(m)))
