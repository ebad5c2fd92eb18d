"""Prometheus and promtool come out of an archive or a Debian package, whole, or not at all; manifests come by hash."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from cluster import material, tools, unpack
from grader.errors import LabError

PROGRAM = "#!/bin/sh\necho {name}, version 2.53.4\n"


def make_tar(path: Path, *names: str, kind: bytes = tarfile.REGTYPE) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name in names:
            data = PROGRAM.format(name=Path(name).name).encode()
            member = tarfile.TarInfo(name)
            member.type, member.size, member.linkname = kind, len(data) if kind == tarfile.REGTYPE else 0, "/etc/passwd"
            tar.addfile(member, io.BytesIO(data) if kind == tarfile.REGTYPE else None)
    return path


@pytest.fixture
def no_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAB_KIT", str(tmp_path / "kit"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    return tmp_path


def test_the_programs_alone_are_taken(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar.gz", "p-1/prometheus", "p-1/promtool", "p-1/LICENSE", "../../evil")
    unpack.unpack_tar(archive, ["prometheus", "promtool"], tmp_path / "bin")
    assert {p.name: p.stat().st_mode & 0o777 for p in (tmp_path / "bin").iterdir()} == {
        "prometheus": 0o755,
        "promtool": 0o755,
    }


def test_links_and_halves_are_refused(tmp_path: Path) -> None:
    for archive in (
        make_tar(tmp_path / "link.tar.gz", "p/prometheus", kind=tarfile.SYMTYPE),
        make_tar(tmp_path / "other.tar.gz", "p/other"),
    ):
        with pytest.raises(unpack.NotUnpacked, match="does not hold it"):
            unpack.unpack_tar(archive, ["prometheus"], tmp_path / "bin")
    (tmp_path / "half.tar.gz").write_bytes((tmp_path / "link.tar.gz").read_bytes()[:40])
    with pytest.raises(unpack.NotUnpacked):
        unpack.unpack_tar(tmp_path / "half.tar.gz", ["prometheus"], tmp_path / "bin")
    assert not (tmp_path / "bin").exists()


def test_the_archive_is_fetched_where_there_is_no_apt(no_tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetch(url: str, sha256: str, target: Path, mode: int = 0o644) -> None:
        asked.append((url, sha256))
        make_tar(target, "p/prometheus", "p/promtool")

    monkeypatch.setattr(tools, "fetch", fetch)
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert tools.find("promtool") == tools.folder() / "promtool"
    assert tools.find("prometheus") == tools.folder() / "prometheus"  # it came with the first
    ((url, sha256),) = asked
    assert url.endswith("/v2.53.4/prometheus-2.53.4.linux-arm64.tar.gz") and sha256.startswith("ec7236")


def test_apt_without_network_leads_to_the_archive(no_tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    for name in ("apt-get", "dpkg"):
        path = no_tools / "path" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\necho E: no network >&2\nexit 100\n")
        path.chmod(0o755)
    monkeypatch.setattr(tools, "fetch", lambda url, sha256, target: make_tar(target, "p/prometheus", "p/promtool"))
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert tools.find("prometheus", say=said.append).is_file()
    assert any("E: no network" in line for line in said)


@pytest.mark.parametrize("parted", [False, True], ids=["Debian 12", "Debian 13"])
def test_promtool_may_be_a_package_of_its_own(parted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    holds = {"prometheus": ["prometheus"], "promtool": ["promtool"]}
    asked: list[str] = []

    def call(command: list[str], folder: str) -> None:
        if command[0] == "apt-get":
            asked.append(command[-1])
            Path(folder, f"{command[-1]}_2.53_amd64.deb").touch()
            return
        package = Path(command[2]).name.partition("_")[0]
        for name in holds[package] if parted else ["prometheus", "promtool"]:
            path = Path(folder, "out/usr/bin", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(PROGRAM)

    monkeypatch.setattr(unpack, "_call", call)
    unpack.unpack_debian(["prometheus", "promtool"], ["prometheus", "promtool"], tmp_path / "bin")
    assert sorted(p.name for p in (tmp_path / "bin").iterdir()) == ["prometheus", "promtool"]
    assert asked == (["prometheus", "promtool"] if parted else ["prometheus"])
    holds["promtool"] = []
    if parted:  # and half of it is nothing
        with pytest.raises(unpack.NotUnpacked, match="promtool is not in it"):
            unpack.unpack_debian(["prometheus", "promtool"], ["prometheus", "promtool"], tmp_path / "other")
        assert not (tmp_path / "other").exists()


def test_a_system_without_an_archive_is_told_what_to_install(no_tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    with pytest.raises(LabError, match="only for linux-amd64") as caught:
        tools.find("prometheus")
    assert "https://prometheus.io/download/" in caught.value.remedy


def test_a_manifest_counts_only_with_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(material, "CACHE", tmp_path)
    manifest = material.read_manifest("prometheus-operator")
    manifest.path.write_text("an error page")
    assert not manifest.is_there()
    good = material.Manifest("x", "1", "", hashlib.sha256(b"good").hexdigest(), 4)
    good.path.write_bytes(b"good")
    assert good.is_there()
