"""Fetches a file whose sha256 is known: it lies there whole and right, or not at all.

https only, also after a redirect; plain http is for this machine itself.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from grader.errors import LabError
from grader.progress import Progress

CONNECT, READ, WHOLE = 10.0, 20.0, 1800.0  # seconds: for a connection, for the next bytes, for all of the file
BEAT = 5.0  # seconds between two signs of life


class NotFetched(LabError):
    """`url` was not fetched: `reason` says why. Nothing is left of it."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"{url} could not be fetched: {reason}", "Is the network there, and its proxy set?")
        self.url, self.reason = url, reason


class WrongHash(NotFetched):
    """What came is not what the kit knows under that address."""

    def __init__(self, url: str, found: str, wanted: str) -> None:
        super().__init__(url, f"its sha256 is {found}, and {wanted} was expected")
        self.found, self.wanted = found, wanted


def fetch(url: str, sha256: str, target: Path, mode: int = 0o644) -> None:
    """Puts the file there in one step. Hold a lock around it: what an earlier, killed call left half is removed."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for left in target.parent.glob(f".{target.name}.*.part"):
            left.unlink()
        with tempfile.NamedTemporaryFile(
            dir=target.parent, prefix=f".{target.name}.", suffix=".part", delete=False
        ) as file:
            part = Path(file.name)
        try:
            found = _download(url, part)
            if found != sha256:
                raise WrongHash(shown(url), found, sha256)
            part.chmod(mode)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as wrong:  # httpx's own errors are none
        raise NotFetched(shown(url), f"{target.parent} cannot be written ({wrong.strerror or wrong})") from wrong


def _download(url: str, part: Path) -> str:
    """Writes what comes to `part`, and returns its sha256."""
    digest, size = hashlib.sha256(), 0
    with part.open("wb") as out, Progress(f"fetching {url.rpartition('/')[2]}", BEAT) as progress:
        for block, total in _blocks(url):
            out.write(block)
            digest.update(block)
            size += len(block)
            progress.note(f"{size / 1e6:.1f}" + (f" of {int(total) / 1e6:.1f} MB" if total.isdigit() else " MB"))
            if progress.seconds > WHOLE:
                raise NotFetched(shown(url), f"after {WHOLE:.0f} s only {size / 1e6:.1f} MB had come")
    return digest.hexdigest()


def _blocks(url: str) -> Iterator[tuple[bytes, str]]:
    """The file block by block, each with the size of the whole as the server says it."""
    import httpx  # 0.2 s, and most calls find the tool already there

    def refuse_plain(request: httpx.Request) -> None:
        if not is_safe(str(request.url)):
            raise NotFetched(shown(url), f"it leads to {request.url.scheme}://{request.url.host}, which is not https")

    patience = httpx.Timeout(READ, connect=CONNECT)
    hooks = {"request": [refuse_plain]}  # called for each redirect, too
    try:
        with (
            httpx.Client(timeout=patience, follow_redirects=True, event_hooks=hooks) as client,
            client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as answer,
        ):
            if answer.status_code != 200:
                raise NotFetched(shown(url), f"the server says {answer.status_code} {answer.reason_phrase}")
            for block in answer.iter_bytes(1 << 16):
                yield block, answer.headers.get("Content-Length", "")
    # besides httpx's own: OSError from an SSL_CERT_FILE that is not there, the last two from an odd proxy's address
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ImportError, ValueError) as wrong:
        raise NotFetched(shown(url), f"{wrong or type(wrong).__name__}") from wrong


def is_safe(url: str) -> bool:
    """https, or http to this machine."""
    parts = urlsplit(url)
    here = parts.hostname in ("localhost", "::1") or bool(re.fullmatch(r"127(\.\d+){3}", parts.hostname or ""))
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and here))


def shown(url: str) -> str:
    """The address without a user's name and password."""
    return re.sub(r"//[^/@]*@", "//", url)
