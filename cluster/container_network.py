"""What containers are given of this machine's ways into the network: proxy and certificates."""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cluster.names import read_names

SPARED = ("127.0.0.1", "localhost", ".svc", ".cluster.local", "10.96.0.0/12", "10.244.0.0/16", "172.16.0.0/12")
DESKTOP = "http.docker.internal"  # Docker Desktop's own proxy, through which its engine always pulls
CERTIFICATES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT", "NODE_EXTRA_CA_CERTS")
Finding = tuple[bool, str]


def proxy(engine: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Finding:
    """What reaches the nodes: kind copies the proxy of its own environment and adds its networks and names to NO_PROXY,
    to which cluster/engine.py has added our registry. Without one there, Docker's client adds its own (config.json),
    and nobody completes that. The engine's is for pulling, and Go never asks a proxy for 127.0.0.1. Addresses may hold
    a password."""
    lower = {k.lower(): v for k, v in environ.items() if v}
    if "http_proxy" in lower or "https_proxy" in lower:
        return True, "proxy for containers: this shell's, and the cluster is spared"
    client = _client_proxy(environ)
    if client.get("httpProxy") or client.get("httpsProxy"):
        return _spares("noProxy (config.json)", client.get("noProxy", ""), [*SPARED, read_names().registry])
    pulls = [v for v in (engine.get("HttpProxy"), engine.get("HttpsProxy")) if v and DESKTOP not in v]
    return True, "Docker pulls images through a proxy; containers have none" if pulls else "containers have no proxy"


def _spares(setting: str, spared: str, wanted: Iterable[str]) -> Finding:
    lacking = [w for w in wanted if not any(_covers(s.strip(), w) for s in spared.split(","))]
    if not lacking:
        return True, f"proxy for containers: {setting} spares the cluster"
    return False, f"proxy for containers: {setting} lacks {', '.join(lacking)}"


def _covers(spared: str, wanted: str) -> bool:
    """10.0.0.0/8 covers 10.96.0.0/12, .local covers .cluster.local, * covers all."""
    try:
        return ipaddress.ip_network(wanted).subnet_of(ipaddress.ip_network(spared))  # type: ignore[arg-type]
    except (ValueError, TypeError):  # a name, or one of version 4 and one of 6
        dotted = f".{wanted.lstrip('.')}".endswith(f".{spared.lstrip('.').lower()}")
        return spared in ("*", wanted) or (bool(spared) and dotted)


def _client_proxy(environ: Mapping[str, str]) -> dict[str, str]:
    try:
        return dict(read_client(environ)["proxies"]["default"])
    except (ValueError, KeyError, TypeError):
        return {}


def read_client(environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """The settings of Docker's client (config.json); {} where there are none, or none that can be read."""
    try:
        path = Path(environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return {}


def certificates(_: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Finding:
    named = {name: Path(environ[name]) for name in CERTIFICATES if environ.get(name)}
    gone = [name for name, path in named.items() if not path.exists()]  # a folder will do for some
    if gone:
        return False, f"{', '.join(gone)} names a file of certificates that is not there"
    if named:
        return True, f"{', '.join(named)}: if that is a private CA, image builds need it, too"
    return True, "no certificates of your own are set"
