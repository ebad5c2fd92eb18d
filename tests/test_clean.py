"""`./lab clean`: what a lab left in the cluster goes, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from grader.errors import LabError
from labs.helpers.kube import clean

MINE = ["ml-serving-split", "ml-serving-release", "ml-serving-walk-split", "ml-serving-bench"]
STAYS = ["default", "ml-serving", "ml-serving-walk", "team-split", "ml-serving-bench-old"]


class Cluster:
    """Namespaces, each with a pod that asks for 100 MiB; Traefik runs, metrics-server does not."""

    def __init__(self) -> None:
        self.spaces, self.taken = [*STAYS, *MINE], list[str]()

    def get(self, namespace: str, *words: str) -> dict[str, Any]:
        if words[0] == "namespaces":
            return {"items": [{"metadata": {"name": name}} for name in self.spaces]}
        if words[0] == "pods":
            asks = {"resources": {"requests": {"memory": "100Mi"}}}
            return {"items": [{"spec": {"containers": [asks, {}]}} for _ in self.spaces]}
        return {"kind": "Deployment"} if words[-1] == "traefik" else {}

    def kubectl(self, *words: str, **_: Any) -> None:
        assert words[:2] == ("delete", "namespace")
        self.spaces.remove(words[2])


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    one = Cluster()
    for name in ("get", "kubectl"):
        monkeypatch.setattr(clean, name, getattr(one, name))
    monkeypatch.setattr(clean, "status", lambda _: (True, []))
    parts = {lab: [(seen, lambda seen=seen: one.taken.append(seen[-1])) for seen, _ in those]
             for lab, those in clean.PLATFORM.items()}  # fmt: skip
    monkeypatch.setattr(clean, "PLATFORM", parts)
    return one


def test_one_lab_alone(cluster: Cluster) -> None:
    said = CliRunner().invoke(clean.clean, ["06"])
    assert said.exit_code == 0 and cluster.spaces == [*STAYS, "ml-serving-bench"] and cluster.taken == ["traefik"]
    assert "freed: 3 namespaces and 1 of the platform's parts; their pods had asked for 300 MiB" in said.output


def test_all_of_it_and_lab_05_stays(cluster: Cluster) -> None:
    assert CliRunner().invoke(clean.clean).exit_code == 0
    assert cluster.spaces == STAYS


def test_without_a_cluster_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clean, "status", lambda _: (False, ["no cluster serving-lab"]))
    with pytest.raises(LabError, match="not run: no cluster serving-lab") as refused:
        CliRunner().invoke(clean.clean, catch_exceptions=False, standalone_mode=False)
    assert refused.value.exit_code == 2
