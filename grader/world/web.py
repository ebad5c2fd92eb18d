"""httpx's client and calls, for many small questions to this machine's own servers.

httpx makes a client for each of its calls, and each client reads all certificate authorities: some 30 ms of CPU, taken
from the server that is asked on the same cores, where the question takes one. Here they are read once a process.
"""

from __future__ import annotations

import ssl
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import httpx


@cache
def authorities() -> ssl.SSLContext:
    return httpx.create_ssl_context()


def client(**given: Any) -> httpx.Client:
    return httpx.Client(verify=authorities(), **given)


def get(url: str, **given: Any) -> httpx.Response:
    return httpx.get(url, verify=authorities(), **given)


def post(url: str, **given: Any) -> httpx.Response:
    return httpx.post(url, verify=authorities(), **given)


def stream(method: str, url: str, **given: Any) -> AbstractContextManager[httpx.Response]:
    return httpx.stream(method, url, verify=authorities(), **given)
