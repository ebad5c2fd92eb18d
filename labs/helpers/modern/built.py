"""Copies of modern/ that are served for a moment with one thing changed, and its Bento beside the classic one."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import yaml

from grader.model import Facts
from grader.progress import Progress
from grader.world.load import closed
from grader.world.servers import Served, served
from labs.helpers.bento import bentos
from labs.helpers.service import servers

MODERN = "demo_text_modern"
KEPT = '{"max_requests": 100_000_000, "max_age": 86400.0}'
NO_GUARD = {"frame.py": "\n\ndef protect(svc, models):\n    pass\n"}
BATCHES = "bentoml_service_adaptive_batch_size_bucket"


@contextlib.contextmanager
def copied(added: dict[str, str], config: Facts | None = None) -> Iterator[Served]:
    """A copy of modern/ with those lines at the ends of its files, served; its `problem` says why it is not."""
    with tempfile.TemporaryDirectory(prefix="modern-", ignore_cleanup_errors=True) as folder:
        target = Path(folder) / "modern"
        shutil.copytree("modern", target, ignore=shutil.ignore_patterns("__pycache__"))
        for name, text in added.items():
            (target / name).write_text((target / name).read_text() + text)
        context = served(target, Path("store"), "service:Triage", config, in_place=True)
        with Progress("a copy of modern/"), context as server:
            yield server


def without_guard() -> dict[str, str]:
    """What bad input gets from a copy that has no guard in front."""
    with copied(NO_GUARD) as server:
        return servers.send_bad(server)


def lost_with(remedy_at: str, people: int = 30, seconds: float = 4.0) -> dict[str, int]:
    """How the requests end that `people` send to a copy whose remedy is at that class of service.py alone."""
    line = f'\n\n{remedy_at}.config["runner_connection"] = {KEPT}\n'
    with copied({"service.py": line}) as server:
        return closed.run(server.url, users=people, seconds=seconds, first=700_000_000).ends()


def refused_by_status(server: Served) -> dict[str, int]:
    """The requests for /classify that BentoML itself has counted with a status from 400 to 499."""
    found: dict[str, int] = {}
    for name, labels, value in server.metrics():
        status = labels.get("http_response_code", "")
        if name == "bentoml_service_request_total" and labels["endpoint"] == "/classify" and status.startswith("4"):
            found[status] = found.get(status, 0) + int(value)
    return found


def promises(server: Served) -> str:
    """What the OpenAPI document says of /classify, in three lines."""
    post = httpx.get(f"{server.url}/docs.json", timeout=10).json()["paths"]["/classify"]["post"]
    takes, gives = post["requestBody"], post["responses"]["200"]
    kinds = {"takes": takes, "gives": gives}
    lines = [f"{word}: {', '.join(schema_of(part)['properties'])}" for word, part in kinds.items()]
    return "\n".join([*lines, f"statuses: {', '.join(post['responses'])}"])


def schema_of(part: Facts) -> Facts:
    schema: Facts = part["content"]["application/json"]["schema"]
    return schema


CONFIGS: dict[str, Facts | str] = {
    "version: 1, as in lab 02": "service/bentoml_configuration.yml",
    "version: 2, and services": {"version": 2, "services": {"Embedder": {"batching": {"max_batch_size": 4}}}},
    "no version, and services": {"services": {"Embedder": {"batching": {"max_batch_size": 4}}}},
}


def try_configs() -> dict[str, str]:
    """What a copy does that BENTOML_CONFIG gives each of these files."""
    return {name: tried(given) for name, given in CONFIGS.items()}


def tried(given: Facts | str) -> str:
    config = yaml.safe_load(Path(given).read_text()) if isinstance(given, str) else given
    with copied({}, config) as server:
        if server.problem:
            return f"does not start: {complaint(server.log(40))}"
        httpx.post(f"{server.url}/classify", json={"texts": ["Where is my parcel?"]}, timeout=20)
        return f"starts; the embedder's largest batch is {largest_batch(server, 'Embedder'):.0f}"


def complaint(log: str) -> str:
    """The last two lines of it, where BentoML says which key it dislikes."""
    return "; ".join(line.strip() for line in log.splitlines()[-2:])


def largest_batch(server: Served, part: str) -> float:
    edges = [float(labels["le"]) for name, labels, _ in server.metrics()
             if name == BATCHES and labels["runner_name"] == part and labels["le"] != "+Inf"]  # fmt: skip
    return max(edges, default=0.0)


def compare() -> str:
    """What the two bento.yaml say, key by key, where they differ in form."""
    old, new = (read(bentos.latest(name=name)) for name in (bentos.NAME, MODERN))
    rows = [
        ("spec", str(old.get("spec", "none")), str(new.get("spec", "none"))),
        ("models", tags(old["models"]), tags(new["models"]) or "none"),
        ("runners", ", ".join(r["name"] for r in old.get("runners", [])), "none"),
        ("services", "none", ", ".join(s["name"] for s in new["services"])),
        ("their models", "", tags([m for s in new["services"] for m in s["models"]])),
        ("their config", "", "; ".join(f"{s['name']} {list(s['config'])}" for s in new["services"] if s["config"])),
        ("image by", "docker, python", ", ".join(key for key in ("docker", "python", "image") if key in new)),
        ("environment", ", ".join(old.get("docker", {}).get("env") or {}), ", ".join(e["name"] for e in new["envs"])),
    ]
    return "\n".join(f"{key:<13}{before or 'none':<56}{after or 'none'}" for key, before, after in rows)


def read(bento: Path) -> Facts:
    facts: Facts = yaml.safe_load((bento / "bento.yaml").read_text())
    return facts


def tags(models: list[Facts]) -> str:
    return ", ".join(m["tag"].split(":")[0] for m in models)
