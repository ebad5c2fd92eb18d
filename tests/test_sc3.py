"""sc3's checks, judged with made-up facts, and what its helpers read. The mutants prove what the probes see."""

from __future__ import annotations

import copy
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from grader.criteria import sc3
from grader.errors import Refused
from grader.judge import judge_criterion
from grader.kit import Kit
from grader.model import CheckResult, Evidence, Facts, Verdict
from grader.world import bento_try
from grader.world import bentos as world_bentos
from grader.world import packages as world_packages
from labs.helpers.bento import bentos, packages

SC3 = Kit().criterion("sc3")


def file(path: str, **more: Any) -> Facts:
    return {"path": path, "size": 1000, "purpose": "serves", "kind": "", "link": "", **more}


def good() -> Facts:
    tags = {"demo_classifier": "demo_classifier:c1", "demo_embedder": "demo_embedder:e1"}
    return {
        "tag": "demo_text_intelligence:b1", "service": "service:svc", "runners": list(sc3.RUNNERS),
        "files": [file("src/service.py"), file("bento.yaml")], "bytes": 2000, "stale": [], "absent": [],
        "unsent": [], "beside": [],
        "imports_problem": "", "links": [], "store": "/work/store", "others": [],
        "models": {name: {"tag": tag, "there": True, "python": "3.11.7"} for name, tag in tags.items()},
        "docker": {"base_image": None, "python_version": "3.11", "cuda_version": None},
        "requirements": "requirements.txt",
        "exact": {"torch": "2.13.0+cpu", "scikit-learn": "1.9.1"}, "loose": [], "unlisted": [],
        "needed": {"torch": "torch", "sklearn": "scikit-learn"}, "wrote": {"torch": "2.13.0", "scikit-learn": "1.9.1"},
        "secret_names": [], "secret_settings": [], "secret_contents": [],
    }  # fmt: skip


def served() -> Facts:
    tags = {"demo_classifier": "demo_classifier:c1", "demo_embedder": "demo_embedder:e1"}
    answer = {"labels": ["billing", "shipping"], "scores": [0.8, 0.9]}
    loads = {name: [tag] for name, tag in tags.items()}
    return {"problem": "", "answer": answer, "loads": loads, "named": tags, "beside": []}


def judge(asked: Facts | None = None, **changes: Any) -> dict[str, CheckResult]:
    """The results for good facts with changes to what was read; `asked` changes what was answered."""
    facts = {"bento": copy.deepcopy(good()) | changes, "serves": served() | (asked or {})}
    return {c.id: c for c in judge_criterion(SC3, {n: Evidence(n, f) for n, f in facts.items()}).checks}


CASES: list[tuple[str, dict[str, Any], str]] = [
    ("looks-lean", {"tag": "", "others": ["triage"]}, "no Bento called demo_text_intelligence"),
    ("looks-lean", {"files": [file("src/a.ipynb", kind="a notebook")]}, "src/a.ipynb (a notebook)"),
    ("of-this-service", {"service": "hello:svc"}, "built from hello:svc"),
    ("of-this-service", {"runners": []}, "has the runners []"),
    ("up-to-date", {"stale": ["limits.py has changed since"]}, "limits.py has changed"),
    ("no-secret-names", {"secret_names": ["src/id_rsa: a file of this name keeps secrets"]}, "src/id_rsa"),
    ("only-needed", {"files": [file("src/x.bin", purpose="", size=5 * 10**7)], "bytes": 10**8}, "x.bin (50.0 MB): 50%"),
    ("no-links", {"links": ["src/a.py -> /b.py"]}, "src/a.py -> /b.py"),
    ("complete", {"absent": ["preprocess.py"]}, "imports preprocess.py"),
    ("complete", {"imports_problem": "a.py cannot be read"}, "a.py cannot be read"),
    ("complete", {"unsent": ["words.json"]}, "names words.json"),
    ("models-fixed", {"models": {}}, "names no model"),
    ("every-package-pinned", {"loose": ["torch>=2"]}, "no version for torch>=2"),
    ("every-package-pinned", {"beside": ["flask (setup_script)"]}, "install flask (setup_script) without a version"),
    ("nothing-unlisted", {"unlisted": ["scikit-learn", "scipy"]}, "scikit-learn (imported as sklearn); scipy"),
    ("torch-for-cpu", {"exact": {"torch": "2.13.0"}}, "torch==2.13.0+cpu"),
    ("torch-for-cpu", {"exact": {"torch": "2.13.0+cpu", "nvidia-cublas": "13"}}, "1 packages of CUDA"),
    ("same-as-trained", {"exact": {"torch": "2.12.0+cpu"}}, "torch 2.12.0+cpu, trained with 2.13.0"),
    ("image-fixed", {"docker": {"base_image": "python:latest"}}, "another image every month"),
    ("image-fixed", {"docker": {"base_image": "registry:5000/python"}}, "another image every month"),
    ("image-fixed", {"docker": {"python_version": "3.9"}}, "Python 3.9; the models were pickled by 3.11"),
    ("image-fixed", {"docker": {"distro": "alpine", "python_version": "3.11"}}, "torch has no build for that"),
    ("no-secret-settings", {"secret_settings": ["bento.yaml, line 7: a GitHub token"]}, "bento.yaml, line 7"),
    ("no-secret-contents", {"secret_contents": ["src/a.py, line 7: a key"]}, "src/a.py, line 7"),
    ("answers-alone", {"asked": {"problem": "ImportError: no"}}, "does not serve: ImportError"),
    ("answers-alone", {"asked": {"answer": {"labels": ["billing"]}}}, "answers {'labels': ['billing']}"),
    ("answers-alone", {"asked": {"beside": ["words.txt"]}}, "opens words.txt in your workspace"),
    (
        "loads-its-own",
        {"asked": {"loads": {"demo_embedder": ["demo_embedder:e1", f"demo_embedder:{sc3.DECOY}"]}}},
        "demo_embedder:e1 and loads",
    ),
    ("loads-its-own", {"asked": {"loads": {}}}, "names demo_classifier:c1; demo_embedder:e1, and its code loads no"),
    ("answers-alone", {"asked": {"answer": {"labels": ["account"] * 2, "scores": [0.8, 0.9]}}}, "are billing and"),
    ("answers-alone", {"asked": {"answer": {"labels": list(sc3.LABELS), "scores": [0.8, 80]}}}, "are billing and"),
    ("image-fixed", {"docker": {"python_version": "3.11", "cuda_version": "12.1"}}, "docker.cuda_version is 12.1"),
]


def test_a_good_bento_passes_every_check() -> None:
    assert {c.verdict for c in judge().values()} == {Verdict.PASS}


@pytest.mark.parametrize(("name", "changes", "told"), CASES)
def test_each_fault_fails_its_check_in_words(name: str, changes: dict[str, Any], told: str) -> None:
    results = judge(**changes)
    assert results[name].verdict is Verdict.FAIL, results[name].message
    assert told in results[name].message
    assert not [c for c in results.values() if c.verdict is Verdict.ERROR]


def test_one_more_field_of_an_answer_is_no_fault() -> None:
    more = {"labels": ["billing", "shipping"], "scores": [0.8, 0.9], "classes": ["billing"]}
    assert judge({"answer": more})["answers-alone"].verdict is Verdict.PASS


def test_models_are_compared_with_what_wrote_them(tmp_path: Path) -> None:
    """Not with what is installed here: on another machine only the framework's version is known."""
    known = {"demo_classifier": "{scikit-learn: 1.5.0}", "demo_embedder": f"{{cloudpickle: {version('cloudpickle')}}}"}
    for name, versions in known.items():
        folder = tmp_path / "models" / name / "v1"
        folder.mkdir(parents=True)
        (folder / "model.yaml").write_text(f"context: {{python_version: 3.12.1, framework_versions: {versions}}}")
    about = {"models": [{"tag": f"{name}:v1"} for name in known]}
    wrote = {p: sc3.version_of_writer(p, about, tmp_path) for p in ("scikit-learn", "numpy", "cloudpickle")}
    assert wrote == {"scikit-learn": "1.5.0", "numpy": "", "cloudpickle": version("cloudpickle")}
    embedder = {"models": about["models"][1:]}
    assert sc3.version_of_writer("numpy", embedder, tmp_path) == version("numpy")
    assert "scikit-learn 1.5.0, and here is" in sc3.made_elsewhere([sc3.stored(tmp_path, "demo_classifier:v1")])


def test_a_base_image_with_a_digest_or_version_is_fixed() -> None:
    for base in ("python:3.11-slim", "python@sha256:" + "0" * 64, "registry:5000/python:3.11"):
        assert judge(docker={"base_image": base})["image-fixed"].verdict is Verdict.PASS
    for base in ("debian:bookworm-slim", "ubuntu:24.04", "python:3.11.9-slim-bookworm"):
        assert judge(docker={"base_image": base})["image-fixed"].verdict is Verdict.PASS, base
    for base in (
        "python",
        "python:slim",
        "python:3-slim",
        "python:3.9",
        "debian:stable-slim",
        "python:3.9@sha256:" + "0" * 64,
    ):
        assert judge(docker={"base_image": base})["image-fixed"].verdict is Verdict.FAIL, base


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def test_imports_are_followed_and_those_for_types_are_not(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "__init__.py").write_text("from . import er\n")
    (tmp_path / "deep" / "er" / "__init__.py").write_text("from ..side import x\nimport yaml\n")
    (tmp_path / "deep" / "side.py").write_text("import json\n")
    write(tmp_path, spare="", typed="", late="import numpy\n")
    write(tmp_path, service="import deep\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import typed\n"
          "def f():\n    import late\n    return open('late.py')\nsvc = f\n")  # fmt: skip
    found = world_packages.follow_imports(tmp_path, "service")
    assert found.files == {"service.py", "late.py", "deep/__init__.py", "deep/er/__init__.py", "deep/side.py"}
    assert found.outside == {"yaml", "numpy"}
    assert found.named == {"late.py"}


def test_what_no_server_imports_is_not_needed(tmp_path: Path) -> None:
    code = """
try:
    import orjson as json
except ImportError:
    import json
try:
    import tomllib
except ModuleNotFoundError:
    import tomli as tomllib
try:
    import numpy
except ImportError as wrong:
    raise SystemExit("numpy is needed") from wrong
with contextlib.suppress(ImportError):
    import ujson
if importlib.util.find_spec("uvloop"):
    import uvloop
if not importlib.util.find_spec("uvloop"):
    import pydantic
if __name__ == "__main__":
    import spare, torch
else:
    import yaml
"""
    found = world_packages.follow_imports(write(tmp_path, service=code, spare=""), "service")
    assert (found.files, found.outside) == ({"service.py"}, {"numpy", "yaml", "pydantic"})
    write(tmp_path, service="import other\n" + code, other="import orjson\n")
    assert world_packages.follow_imports(tmp_path, "service").outside == {"numpy", "yaml", "pydantic", "orjson"}


def test_what_nothing_calls_is_not_needed(tmp_path: Path) -> None:
    code = """
def main():
    show()
def show():
    import spare, torch
    open("spare.txt")
@route
def answers():
    import late
def again():
    import yaml
class Runner:
    def __call__(self):
        from importlib import import_module
        return import_module("later"), getattr(self, "again")
if __name__ == "__main__":
    main()
"""
    (tmp_path / "spare.txt").write_text("x")
    found = world_packages.follow_imports(write(tmp_path, service=code, spare="", late="", later=""), "service")
    assert (found.files, found.outside) == ({"service.py", "late.py", "later.py"}, {"yaml"})
    assert (found.named, found.late) == (set(), {"late": "service.py", "later": "service.py"})
    write(tmp_path, late="from service import main\n")
    assert world_packages.follow_imports(tmp_path, "service").named == {"spare.txt"}


def test_a_module_that_a_function_imports_is_late_unless_a_path_is_set(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    write(tmp_path / "src", service="def f():\n    import late\nsvc = f\n", late="")
    assert sc3.late_imports(tmp_path) == {"late": "service.py"}
    (tmp_path / "bento.yaml").write_text("docker: {env: {PYTHONPATH: /home/bentoml/bento/src}}\n")
    assert sc3.late_imports(tmp_path) == {}
    (tmp_path / "bento.yaml").unlink()
    write(tmp_path / "src", late="import sys\nsys.path.append('/x')\n")
    assert sc3.late_imports(tmp_path) == {}


@pytest.mark.parametrize(("lost", "said"), [(["b"], "guard.py imports b inside"), ([], ""), (["c", 7], ""), ("b", "")])
def test_what_a_loaded_bento_cannot_import_any_more_is_its_problem(lost: Any, said: str) -> None:
    class Asked:
        def get_ready(self) -> None:
            pass

        def ask(self, question: str, patience: float = 0, **given: Any) -> tuple[Any, str]:
            return {"lost": lost, "loaded": {}, "opened": []}.get(question), ""

    problem = sc3.try_bento(Asked(), "x:1", Path("/x"), {"a": "frame.py", "b": "guard.py"})["problem"]  # type: ignore[arg-type]
    assert problem.startswith(said) and bool(problem) == bool(said)
    assert bento_try.lost(["sys", "json.decoder", "no_such_module", "json.nothing", "nothing.json"]) == [
        "no_such_module", "json.nothing", "nothing.json",
    ]  # fmt: skip


def test_a_file_is_named_by_its_path_by_its_parts_or_by_its_ending(tmp_path: Path) -> None:
    for name in ("lists/deep/stop.txt", "lists/other.txt", "service.txt", "labels.csv", "lists/whole.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    write(
        tmp_path,
        service="a = HERE / 'lists' / 'deep' / 'stop.txt', ME.with_suffix('.txt'), 'labels.csv', 'lists/whole.txt'\n",
    )
    named = world_packages.follow_imports(tmp_path, "service").named
    assert named == {"lists/deep/stop.txt", "service.txt", "labels.csv", "lists/whole.txt"}
    for name in ("words/a.txt", "words/b.md", "words/more/c.txt", "pkg/own.csv", "pkg/rows/one.csv", "pkg/__init__.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("a = HERE / 'rows' / 'one.csv', HERE.with_name('own.csv'), '*', 'x'\n")
    write(tmp_path, service="import pkg\nwords = [p for p in (HERE / 'words').glob('*.txt')]\n")
    named = world_packages.follow_imports(tmp_path, "service").named
    assert named == {"words/a.txt", "pkg/own.csv", "pkg/rows/one.csv"}


def test_a_file_that_cannot_be_read_is_a_problem_and_no_exception(tmp_path: Path) -> None:
    write(tmp_path, service="import (\n")
    assert "service.py cannot be read" in world_packages.follow_imports(tmp_path, "service").problem


def test_pins_are_exact_or_loose() -> None:
    lines = ["--extra-index-url https://x", "a==1.0 --hash=sha256:00", "B_c == 2.* ", "d>=1", "# e==1", "f==3  # why",
             "g==1 ; sys_platform == 'win32'", "h @ https://x/h.whl", "i==1 \\", "    --hash=sha256:00"]  # fmt: skip
    pins = world_packages.read_pins("\n".join(lines))
    assert pins.exact == {"a": "1.0", "f": "3", "i": "1"}
    assert pins.loose == ["B_c == 2.*", "d>=1", "h @ https://x/h.whl"]
    assert pins.options == ["--extra-index-url https://x"]


def test_an_archive_and_a_commit_are_exact_and_a_branch_is_not() -> None:
    commit, wheel = "0123456789" * 4, "cp311-cp311-manylinux_2_28_x86_64.whl"
    lines = [f"torch @ https://x/cpu/torch-2.13.0%2Bcpu-{wheel}#sha256=ab", f"https://x/numpy-2.1.0-{wheel} --hash=y",
             "./wheels/mine-0.1-py3-none-any.whl", f"a @ git+https://x/a@{commit}", "b @ git+https://x/b@main",
             "c @ https://x/c-1.2.tar.gz", "d @ https://x/archive/main.tar.gz",
             "e @ https://x/e-1.tar.gz ; os_name == 'nt'"]  # fmt: skip
    pins = world_packages.read_pins("\n".join(lines))
    assert pins.exact == {"torch": "2.13.0+cpu", "numpy": "2.1.0", "mine": "0.1", "a": commit, "c": "1.2"}
    assert pins.loose == ["b @ git+https://x/b@main", "d @ https://x/archive/main.tar.gz"]


def test_a_pickle_names_its_modules(tmp_path: Path) -> None:
    import pickle

    import numpy as np

    (tmp_path / "a.pkl").write_bytes(pickle.dumps([np.arange(3), Path("x")]))
    assert world_packages.pickled_modules(tmp_path / "a.pkl") == {"numpy"}


def test_the_closure_leaves_cuda_out() -> None:
    found = world_packages.closure(["torch"])
    assert {"torch", "sympy", "mpmath"} <= found
    assert not [p for p in found if world_packages.CUDA.fullmatch(p)]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("src/tests/a.py", "a test"), ("src/test_a.py", "a test"), ("src/contest.py", ""),
        ("src/a.ipynb", "a notebook"),
        ("src/.env.local", "a file of secrets"), ("src/data/a.txt", "data"), ("src/metadata.py", ""),
        ("src/a.csv.gz", "data"), ("src/__pycache__/a.pyc", "compiled code"), ("src/environment.py", ""),
    ],
)  # fmt: skip
def test_what_a_stray_file_looks_like(name: str, kind: str) -> None:
    assert world_bentos.kind_of(name) == kind


def test_a_configuration_is_told_from_other_yaml(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("version: 1\nrunners: {timeout: 3}\n")
    (tmp_path / "b.yml").write_text("version: 1\nkeys: [1]\n")
    assert world_bentos.is_configuration(tmp_path / "a.yml")
    assert not world_bentos.is_configuration(tmp_path / "b.yml")


def test_two_bentos_are_compared_line_by_line(tmp_path: Path) -> None:
    for name, text in (("one", "a\nb\n"), ("two", "a\nc\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same.txt").write_text("same")
        (tmp_path / name / "changed.txt").write_text(text)
    (tmp_path / "two" / "new.txt").write_text("new")
    told = bentos.compare(tmp_path / "one", tmp_path / "two")
    assert told.splitlines()[1:] == [
        "  changed changed.txt", "            - b", "            + c", "  added   new.txt", "  3 files compared",
    ]  # fmt: skip


def test_pins_are_exact_closed_and_for_the_cpu() -> None:
    pins = world_packages.read_pins("\n".join(packages.pins(["torch", "scikit-learn"])))
    assert not pins.loose and pins.exact["torch"].endswith("+cpu") and "scipy" in pins.exact
    assert not world_packages.closure(pins.exact) - set(pins.exact)


REFERENCE_ROOTS = [
    "bentoml",
    "torch",
    "sentence-transformers",
    "scikit-learn",
    "opentelemetry-exporter-otlp-proto-http",
]


def test_the_reference_bento_has_the_versions_of_the_lock_file(tmp_path: Path) -> None:
    made = tmp_path / "requirements.txt"
    packages.write_pins(str(made), REFERENCE_ROOTS)
    remedy = f"labs.helpers.bento.packages.write_pins('service/requirements.txt', {REFERENCE_ROOTS}) makes it anew"
    assert (ROOT / "service/requirements.txt").read_text() == made.read_text(), remedy


def test_a_lock_is_weighed_and_an_absent_index_is_said() -> None:
    here = f"cp{sys.version_info.major}{sys.version_info.minor}"
    urls = [f"https://x/torch-{here}-{here}-manylinux_2_28_x86_64.whl", "https://x/torch-cp38-cp38-win_amd64.whl"]
    lock: dict[str, Any] = {
        "packages": [
            {"name": "torch", "version": "2.13.0", "wheels": [{"url": u, "size": 5e8 + i} for i, u in enumerate(urls)]},
            {"name": "triton", "version": "3", "wheels": [{"url": urls[0], "size": 10**9}]},
            {"name": "old", "version": "1", "sdist": {"url": "https://x/old.tar.gz", "size": 10}},
        ]
    }
    found = packages.wheels(lock)
    assert [w.size for w in found] == [5 * 10**8, 10**9, 10]
    assert "1 of them serve CUDA: 1.00 GB, and torch 2.13.0 itself is 500 MB" in packages.weight_finding(found, "")
    assert packages.weight_finding([], "no index") == "Not measured here: no index."
    assert repr(packages.draw_weight([], "no index")) == "Not measured here: no index."


def test_a_list_with_a_todo_is_refused_in_words() -> None:
    with pytest.raises(Refused, match="still has a TODO"):
        packages.write_pins("nowhere", ...)
    with pytest.raises(Refused, match="is called sklearn"):
        packages.write_pins("nowhere", ["bentoml", "sentence_transformers", "sklearn"])


def test_what_an_image_s_own_steps_install_has_a_version() -> None:
    script = """#!/bin/bash
# pip install comes later
pip install --no-cache-dir uv 'flask[async]' numpy==2.4.6 -r more.txt ./own -i https://index.example/simple
RUN uv pip install httpie>=3 \\
    rich  # for logs
"""
    assert world_packages.installed_loosely(script) == ["flask[async]", "httpie>=3", "rich"]
    for words in ("pip3.11 install", "python -m pip -q install", "pip --no-cache-dir install", "pip --proxy=x install"):
        assert world_packages.installed_loosely(f"RUN {words} rich\n") == ["rich"], words
    run = 'RUN ["pip", "install", "--no-cache-dir", "rich", "uv"]\nRUN ["pip", "install", "rich==1.0"]\n'
    assert world_packages.installed_loosely(run) == ["rich"]


def test_pins_of_two_lists_do_not_contradict_each_other_and_extras_count() -> None:
    pins = world_packages.read_pins("uvicorn[standard]==0.54.0\nnumpy==2.4.6\nnumpy==2.4.6\nnumpy==1.26.4\n")
    assert (pins.exact["numpy"], pins.loose) == ("2.4.6", ["numpy (2.4.6 and 1.26.4)"])
    assert "httptools" in world_packages.closure(["uvicorn"], pins.extras) - world_packages.closure(["uvicorn"])


def test_a_build_file_is_found_where_bentoml_finds_it_and_pins_are_compared_as_pins(tmp_path: Path) -> None:
    (tmp_path / "b/src").mkdir(parents=True)
    (tmp_path / "b/env/python").mkdir(parents=True)
    (tmp_path / "s").mkdir()
    said = "service: 'service:svc'\npython: {requirements_txt: requirements.txt, lock_packages: false}\n"
    (tmp_path / "b/src/bentofile.yaml").write_text(said)
    (tmp_path / "b/env/python/requirements.txt").write_text("numpy==2.4.6\nrich==15.0.0\n")
    own = tmp_path / "s/requirements.txt"
    own.write_text("# by uv\nrich==15.0.0 \\\n    --hash=sha256:00\n    # via bentoml\nnumpy==2.4.6\n")
    assert world_bentos.differences(tmp_path / "b", tmp_path / "s") == []  # a program built it
    toml = tmp_path / "s/pyproject.toml"
    toml.write_text("[tool.ruff]\nline-length = 100\n")
    assert world_bentos.differences(tmp_path / "b", tmp_path / "s") == []
    toml.write_text(
        "[tool.bentoml.build]\nservice = 'service:svc'\n"
        "python = {requirements_txt = 'requirements.txt', lock_packages = false}\n"
    )
    assert world_bentos.differences(tmp_path / "b", tmp_path / "s") == []
    own.write_text("numpy==2.4.6\n")
    assert world_bentos.differences(tmp_path / "b", tmp_path / "s") == ["requirements.txt has changed since (rich)"]
    (tmp_path / "s/bentofile.yaml").write_text(said + "labels: {a: b}\n")
    assert world_bentos.differences(tmp_path / "b", tmp_path / "s") == ["bentofile.yaml says another `labels` now"]


def test_a_pair_of_name_and_value_is_a_setting() -> None:
    from grader.world import secrets

    pairs = b"envs:\n- name: DB_PASS\n  value: sommer2024\n- name: LOG_LEVEL\n  value: info2024x\n"
    assert [s.what for s in secrets.search("bento.yaml", pairs)] == ["a value called DB_PASS"]
    assert not secrets.search("bento.yaml", b"first_pass: whole2024\nbypass: sommer2024\n")
