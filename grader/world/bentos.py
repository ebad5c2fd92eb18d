"""Reads a built Bento as plain facts: its files, what each is for, and what the folder has that it was built from."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from grader.model import Facts
from grader.world.packages import Imports, follow_imports, read_pins

# What `bentoml build` of 1.4.39 writes itself, with what each is for; a star stands for any name.
GENERATED = {
    "bento.yaml": "what this is: the service, the models' tags, the settings",
    "README.md": "the description",
    "apis/openapi.yaml": "what may be asked, for programs",
    "env/python/requirements.txt": "the packages that the image installs",
    "env/python/requirements.lock.txt": "the lock; installed in place of requirements.txt",
    "env/python/version.txt": "the Python that built it",
    "env/python/install.sh": "installs them",
    "env/docker/Dockerfile": "how the image is made",
    "env/docker/entrypoint.sh": "what a container runs",
    "src/bentofile.yaml": "the build file",
}
OPTIONAL = {  # only if the build file asks for it
    "env/docker/setup_script": ("docker", "setup_script"),
    "env/docker/Dockerfile.template": ("docker", "dockerfile_template"),
    "env/conda/environment.yml": ("conda", "environment_yml"),
}
STRAYS = {
    "a test": r"(.*/)?(tests?/.*|test_[^/]*\.py|[^/]*_test\.py|conftest\.py)",
    "a notebook": r".*\.ipynb|(.*/)?\.ipynb_checkpoints/.*",
    "data": r"(.*/)?data/.*|.*\.(csv|tsv|parquet|jsonl|npy|npz|xlsx|feather|arrow|h5|sqlite|db)(\.gz)?",
    "a file of secrets": r"(.*/)?\.env[^/]*",
    "a model outside the store": r".*\.(pkl|pickle|joblib|pt|pth|ckpt|onnx|safetensors|gguf)",
    "compiled code": r".*\.py[co]|(.*/)?__pycache__/.*",
    "version control": r"(.*/)?\.(git|hg|svn)/.*",
}
BUILD_FILES = ("bentofile.yaml", "pyproject.toml")  # the first of them counts, as for `bentoml build`
WRITTEN = 200_000  # bytes; a module that is larger was not written by a person
CONFIGURATION = {"version", "api_server", "runners", "services", "monitoring", "tracing"}


@dataclass(frozen=True)
class File:
    """A file of the Bento. `purpose` is empty when nothing needs it; `link` is where a symbolic link points to."""

    path: str
    size: int
    purpose: str
    kind: str = ""
    link: str = ""


def audit(bento: Path, sources: Path) -> tuple[list[File], Imports]:
    """Every file of the Bento with its purpose, and the imports that this rests on. The imports are read from the
    sources: what the build left out, the Bento itself cannot tell."""
    options = read_yaml(bento / "src" / "bentofile.yaml")
    needs = follow_imports(sources, entry_module(str(options.get("service", ""))))
    found = sorted(p for p in bento.rglob("*") if p.is_symlink() or not p.is_dir())
    return [_describe(bento, path, options, needs) for path in found], needs


def _describe(bento: Path, path: Path, options: Facts, needs: Imports) -> File:
    name = path.relative_to(bento).as_posix()
    link = str(path.readlink()) if path.is_symlink() else ""
    purpose = purpose_of(name, options, needs)
    if not purpose and name.startswith("src/") and not link and is_configuration(path):
        purpose = "a configuration, for a process that names it in BENTOML_CONFIG"
    kind = "" if purpose and kind_of(name) == "data" else kind_of(name)  # data that the code reads is none that strayed
    size = path.lstat().st_size
    kind = kind or ("data in a module" if path.suffix == ".py" and size > WRITTEN else "")
    return File(name, size, purpose, kind, link)


def purpose_of(name: str, options: Facts, needs: Imports) -> str:
    if name in GENERATED:
        return GENERATED[name]
    part, key = OPTIONAL.get(name, ("", ""))
    if (options.get(part) or {}).get(key):
        return f"the build file's {part}.{key}"
    wheels = [PurePosixPath(w).name for w in (options.get("python") or {}).get("wheels") or []]
    if name.startswith("env/python/wheels/") and PurePosixPath(name).name in wheels:
        return "a wheel that the build file names"
    own = name.removeprefix("src/")
    if own != name and own in needs.files:
        return "the service, or imported by it"
    read = own != name and own in needs.named and kind_of(name) in ("", "data")
    return "the service's code names it" if read else ""


def kind_of(name: str) -> str:
    """What a stray file looks like by its name, or nothing."""
    return next((kind for kind, pattern in STRAYS.items() if re.fullmatch(pattern, name)), "")


def is_configuration(path: Path) -> bool:
    """A YAML file that BentoML could be told to read as its configuration."""
    if path.suffix not in (".yml", ".yaml"):
        return False
    keys = set(read_yaml(path))
    return bool(keys & {"api_server", "runners", "services", "tracing"}) and keys <= CONFIGURATION


def read_yaml(path: Path) -> Facts:
    """A YAML file's mapping; empty when there is none."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


def entry_module(service: str) -> str:
    """The module in `service:svc`, `service.py:svc` or `service`."""
    return service.split(":")[0].removesuffix(".py").replace("/", ".")


def differences(bento: Path, sources: Path) -> list[str]:
    """What the folder has now and the Bento has not, in words. Links are left to the check that forbids them."""
    told = []
    for path in sorted((bento / "src").rglob("*")):
        name = path.relative_to(bento / "src").as_posix()
        if path.is_symlink() or path.is_dir() or name == "bentofile.yaml":
            continue
        now = sources / name
        if not now.is_file():
            told.append(f"{name} is not in service/ any more")
        elif now.read_bytes() != path.read_bytes():
            told.append(f"{name} has changed since")
    return told + _setting_differences(bento, sources)


def _setting_differences(bento: Path, sources: Path) -> list[str]:
    """Between the build file as it is now and what it was at the build. A Bento that a program built has none."""
    built, problem = build_options(bento / "src" / "bentofile.yaml")
    file = next((f for f in BUILD_FILES if (sources / f).is_file() and is_build_file(sources / f)), "")
    now, trouble = build_options(sources / file) if file else (built, "")
    if problem or trouble:
        return [f"{file or 'bentofile.yaml'}: {problem or trouble}"]
    told = [f"{file} says another `{key}` now" for key in sorted(now) if bare(now[key]) != bare(built.get(key))]
    listed = (built.get("python") or {}).get("requirements_txt")
    if told or not listed or not (sources / listed).is_file():
        return told
    changed = changed_pins(bento / "env/python/requirements.txt", sources / listed)
    return [f"{listed} has changed since ({', '.join(changed[:3])})"] if changed else []


def bare(value: Any) -> Any:
    """Without what is empty: BentoML writes no packages as null and as []."""
    if isinstance(value, dict):
        return {k: bare(v) for k, v in value.items() if bare(v) not in (None, {}, [])}
    return value


def is_build_file(path: Path) -> bool:
    """A pyproject.toml is one only if it says something to BentoML."""
    return path.suffix != ".toml" or "[tool.bentoml" in path.read_text(errors="replace")


def changed_pins(then: Path, now: Path) -> list[str]:
    """Packages whose line is another one now, new or gone; comments, hashes and the order of lines are none of them."""
    old, new = (read_pins(path.read_text(errors="replace")) for path in (then, now))
    changed = {p for p in {*old.exact, *new.exact} if old.exact.get(p) != new.exact.get(p)}
    changed -= {"bentoml"} - set(new.exact)  # a build adds it by itself
    return sorted(changed | set(old.loose) ^ set(new.loose))


def build_options(path: Path) -> tuple[Facts, str]:
    """A build file with all defaults filled in, as BentoML reads it; or why it cannot be read."""
    from bentoml._internal.bento.build_config import BentoBuildConfig
    from bentoml._internal.utils.cattr import bentoml_cattr

    try:
        options = BentoBuildConfig.from_file(str(path)).with_defaults()
        return dict(bentoml_cattr.unstructure(options)), ""
    except FileNotFoundError:
        return {}, "there is none in service/"
    except Exception as wrong:  # its loader raises its own, yaml's, attrs' and cattrs' kinds
        return {}, f"{type(wrong).__name__}: {(str(wrong).splitlines() or [''])[0][:160]}"


def as_facts(files: list[File]) -> list[dict[str, Any]]:
    return [asdict(f) for f in files]
