"""sc3: the Bento holds what serving needs and no more, can be built again, and holds no secret.

Two probes. `bento` reads the latest Bento, file by file, against the folder it was built from. `serves` loads it in
an empty folder and a store in which `latest` names other models than the Bento does, and asks it for two texts.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from grader.errors import LabError
from grader.kit import check, probe
from grader.model import Facts, Finding
from grader.subject import subject
from grader.world import bentos, packages, secrets
from grader.world.paced import PacedSubject
from grader.world.servers import QUIET

NAME, MODULE, ROUTE = "demo_text_intelligence", "service", "/classify"
RUNNERS = ["classifierrunner", "embeddingrunner"]
MODELS = ["demo_classifier", "demo_embedder"]
SETTINGS = ("bento.yaml", "README.md", "src/bentofile.yaml", "env/")  # what is made from the build file
DECOY = "newer0than0bento"
TEXTS = ["I was charged $49.99 twice for order #84213.", "My parcel AB-55102 has been in transit for two weeks."]
LABELS = ["billing", "shipping"]  # theirs: both are among the eight tickets that every classifier learns from
DOCKER = ("base_image", "python_version", "cuda_version", "distro")  # what of the image's settings is judged
FILE = ("path", "size", "purpose", "kind")
VERSION = re.compile(r"[\w-][\w.-]*")  # of a Bento or a model, and their names: no path to somewhere else
MOVING = {"latest", "slim", "alpine", "stable", "edge", "main", "nightly", "devel", "rolling", "lts", "testing", "sid"}
LOADING = 60.0  # seconds for which a Bento may load its models, and answer


@probe(limit=90, ahead=True)
def bento(ws: Any) -> Facts:
    """The latest Bento, read and not run; 1 to 3 s."""
    folder = latest(ws.store)
    if folder is None:
        return {"tag": "", "others": others(ws.store)}
    about = bentos.read_yaml(folder / "bento.yaml")
    files, needs = bentos.audit(folder, ws.service)
    src = {f.path.removeprefix("src/") for f in files if f.path.startswith("src/")}
    return {
        "tag": f"{NAME}:{folder.name}",
        "service": str(about.get("service")),
        "runners": sorted(r["name"] for r in about.get("runners") or []),
        "files": [{key: file[key] for key in FILE} for file in bentos.as_facts(files)],
        "bytes": sum(f.size for f in files),
        "stale": bentos.differences(folder, ws.service),
        "absent": sorted(needs.files - src),
        "unsent": sorted(name for name in needs.named - src if is_read(name)),
        "imports_problem": needs.problem,
        "models": {name: without_versions(stored(ws.store, tag)) for name, tag in tags_of(about).items()},
        "docker": {key: (about.get("docker") or {}).get(key) for key in DOCKER},
        **pinned(folder, needs, about, ws.store),
        **secrets_in(folder, files, ws),
    }


def is_read(name: str) -> bool:
    """Whether a file that the code names is one that it reads: no module, no secret, nothing that the build reads."""
    builds = (*bentos.BUILD_FILES, "requirements.txt", "Dockerfile.template", ".bentoignore")
    return not name.endswith((".py", ".sh")) and name not in builds and bentos.kind_of(name) in ("", "data")


def latest(store: Path) -> Path | None:
    """The folder of the newest Bento of our name."""
    pointer = store / "bentos" / NAME / "latest"
    version = pointer.read_text(errors="replace").strip() if pointer.is_file() else ""
    folder = pointer.parent / version
    return folder if VERSION.fullmatch(version) and (folder / "bento.yaml").is_file() else None


def others(store: Path) -> list[str]:
    return sorted(p.parent.name for p in (store / "bentos").glob("*/latest"))


def stored(store: Path, tag: str) -> Facts:
    """A model that the Bento names, as the store has it: whether it is there, and what it was made with."""
    folder = store / "models" / tag.replace(":", "/")
    context = bentos.read_yaml(folder / "model.yaml").get("context") or {}
    versions = {packages.canonical(p): str(v) for p, v in (context.get("framework_versions") or {}).items()}
    python = str(context.get("python_version", ""))
    return {"tag": tag, "there": bool(context), "python": python, "versions": versions}


def without_versions(model: Facts) -> Facts:
    return {k: v for k, v in model.items() if k != "versions"}


def pinned(folder: Path, needs: packages.Imports, about: Facts, store: Path) -> Facts:
    """What the image would install, and what serving needs: the service's imports and the pickles'."""
    python = folder / "env" / "python"
    locked = python / "requirements.lock.txt"
    source = locked if locked.is_file() else python / "requirements.txt"
    pins = packages.read_pins(source.read_text() if source.is_file() else "")
    modules = set(needs.outside)
    for tag in tags_of(about).values():
        for pickle in sorted((store / "models" / tag.replace(":", "/")).glob("*.pkl")):
            modules |= packages.pickled_modules(pickle)
    modules = {m for m in modules if not packages.module_files(folder / "src", m)}  # a class of the service's own
    needed = packages.packages_of(modules)
    roots = sorted({*needed.values(), *pins.exact})
    return {
        "requirements": source.name,
        "exact": pins.exact,
        "loose": pins.loose,
        "needed": needed,
        "beside": installed_beside(folder),
        "unlisted": sorted(
            packages.closure(roots, pins.extras) - set(pins.exact) - {named(line) for line in pins.loose}
        ),
        "wrote": {p: v for p in sorted(set(needed.values())) if (v := version_of_writer(p, about, store))},
    }


def installed_beside(folder: Path) -> list[str]:
    """What the image's own steps install without a version: "requests-cache (setup_script)"."""
    steps = [folder / "env/docker" / name for name in ("setup_script", "Dockerfile.template")]
    texts = {path.name: path.read_text(errors="replace") for path in steps if path.is_file()}
    return [f"{line} ({name})" for name, text in texts.items() for line in packages.installed_loosely(text)]


def named(line: str) -> str:
    return packages.canonical(line.split("[")[0].split("=")[0].split(">")[0].split("<")[0].split("~")[0].strip())


def version_of_writer(package: str, about: Facts, store: Path) -> str:
    """The version that wrote the pickles. model.yaml has the framework's; of the others the one installed here, if
    the models were made by what is here: on another machine nobody knows it, and it is ""."""
    models = [stored(store, str(m.get("tag"))) for m in about.get("models") or [] if isinstance(m, dict)]
    noted = {p: v for m in models for p, v in m["versions"].items()}
    return noted.get(package) or (version_here(package) if not made_elsewhere(models) else "")


def made_elsewhere(models: list[Facts]) -> str:
    """What made the models and is of another version here; "" if nothing is."""
    here = [(p, v, version_here(p)) for m in models for p, v in m["versions"].items()]
    return next((f"{p} {v}, and here is {ours or 'none'}" for p, v, ours in here if v != ours), "")


def version_here(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def secrets_in(folder: Path, files: list[bentos.File], ws: Any) -> Facts:
    """Sightings in names, in what the build settings became, and in all other files; none with the secret itself."""
    known = known_values(ws.service)
    told: dict[str, list[str]] = {"secret_names": [], "secret_settings": [], "secret_contents": []}
    for file in files:
        told["secret_names"] += [str(s) for s in secrets.search_name(file.path, known)]
        path = folder / file.path
        if path.is_file() and not file.link and not as_given(path, ws):
            where = "secret_settings" if file.path.startswith(SETTINGS) else "secret_contents"
            told[where] += [str(s) for s in secrets.search(file.path, path.read_bytes(), known)]
    return told | {"links": [f"{f.path} -> {f.link}" for f in files if f.link]}


def known_values(service: Path) -> frozenset[str]:
    """What the developer's own .env keeps is a secret for certain, wherever it turns up."""
    path = service / ".env"
    lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
    values = [line.partition("=")[2].strip().strip("\"'") for line in lines if not line.startswith("#")]
    return frozenset(v for v in values if len(v) >= 8)


def as_given(path: Path, ws: Any) -> bool:
    """Byte for byte the kit's own file: its checksums of MiniLM would look like keys."""
    given = ws.kit.root / "service" / path.name
    return bool(given.is_file() and given.read_bytes() == path.read_bytes())


class TriedBento(PacedSubject):
    does = "loads the Bento"


@probe(limit=300, ahead=True)
def serves(ws: Any) -> Facts:
    """The Bento loaded and asked where there is nothing else; 4 to 8 s, nearly all of it importing torch."""
    folder = latest(ws.store)
    if folder is None:
        return {"problem": "there is no Bento", "loads": {}, "answer": None, "named": {}, "beside": []}
    named_tags = tags_of(bentos.read_yaml(folder / "bento.yaml"))
    with tempfile.TemporaryDirectory(prefix="bento-") as temporary:
        home = Path(temporary) / "home"
        make_home(home, folder, ws.store, list(named_tags.values()))
        # One thread: with two, a second job on the same cores makes every encode 20 times slower.
        # No hub, as in a box and in a pod.
        environ = {**QUIET, "BENTOML_HOME": str(home), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        with subject("grader.world.bento_try", [ws.store / "models"], environ, TriedBento, written=[home]) as asked:
            facts = try_bento(asked, f"{NAME}:{folder.name}", ws.root.absolute(), late_imports(folder))
        facts["problem"] = facts["problem"].replace(f"{home}/bentos/{NAME}/{folder.name}/", "")
    return {**facts, "named": named_tags}


def late_imports(folder: Path) -> dict[str, str]:
    """The Bento's own modules that its functions import, and in which file; none where the image or the code sets
    Python's path."""
    found = packages.follow_imports(folder / "src", MODULE)
    image = [folder / "bento.yaml", folder / "env/docker/Dockerfile", folder / "env/docker/entrypoint.sh"]
    told = [*image, *(folder / "src" / name for name in found.files)]
    texts = [path.read_text(errors="replace") for path in told if path.is_file()]
    return {} if any(re.search(r"\bPYTHONPATH\b|\bsys\.path\b", text) for text in texts) else found.late


def try_bento(asked: TriedBento, tag: str, work: Path, late: dict[str, str]) -> Facts:
    """Which models it loads, what it answers, which of its own modules a function would import in vain, and which files
    it opens in the workspace, which no pod has."""
    asked.get_ready()
    _, problem = asked.ask("load", patience=LOADING, tag=tag)
    lost, _ = asked.ask("lost", modules=sorted(late)) if late and not problem else ([], "")
    for name in [name for name in sorted(late) if isinstance(lost, list) and name in lost][:1]:
        problem = f"{late[name]} imports {name} inside a function, and by then BentoML has taken src/ off Python's path"
    answer, trouble = asked.ask("classify", patience=LOADING, texts=TEXTS) if not problem else (None, "")
    loads, _ = asked.ask("loaded") if not problem else ({}, "")
    opened, _ = asked.ask("opened", folder=str(work))
    beside = [name for name in opened or [] if not str(name).startswith("store/")]
    return {"problem": problem or trouble, "loads": loads or {}, "answer": answer, "beside": beside}


def tags_of(about: Facts) -> dict[str, str]:
    """The models that bento.yaml names, by name. A tag is a name and a version, and no path to somewhere else."""
    tags = [str(m.get("tag")) for m in about.get("models") or [] if isinstance(m, dict)]
    parts = [(tag, tag.split(":")) for tag in tags]
    return {p[0]: tag for tag, p in parts if len(p) == 2 and all(map(VERSION.fullmatch, p))}


def make_home(home: Path, folder: Path, store: Path, tags: list[str]) -> None:
    """A BENTOML_HOME with this Bento and its models, where `latest` of each model is a copy under a newer version."""
    if elsewhere := made_elsewhere([stored(store, tag) for tag in tags]):
        raise LabError(f"The models were made with {elsewhere}.", "Grade with the kit that made them.")
    (home / "empty").mkdir(parents=True)
    shutil.copytree(folder, home / "bentos" / NAME / folder.name, symlinks=True)
    for name, version in (tag.split(":") for tag in tags):
        real, target = store / "models" / name / version, home / "models" / name
        target.mkdir(parents=True, exist_ok=True)
        (target / "latest").write_text(DECOY)
        if real.is_dir():
            (target / version).symlink_to(real.resolve())
            (target / DECOY).mkdir()
            for path in real.resolve().iterdir():
                (target / DECOY / path.name).symlink_to(path)
            text = (real / "model.yaml").read_text().replace(version, DECOY)
            (target / DECOY / "model.yaml").unlink()
            (target / DECOY / "model.yaml").write_text(text)


def few(items: list[str], most: int = 3) -> str:
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return "; ".join(items[:most]) + more


@check(bento)
def looks_lean(seen: Facts) -> Finding:
    """The module's form, by names: a Bento is there, without tests, notebooks, data and .env."""
    if not seen["tag"]:
        others_there = seen.get("others", [])
        there = f"; it has {', '.join(others_there)}" if others_there else ""
        return Finding(False, f"There is no Bento called {NAME} in the store{there}.", others_there, NAME)
    found = [f"{f['path']} ({f['kind']})" for f in seen["files"] if f["kind"] and f["kind"] != "compiled code"]
    if found:
        return Finding(False, f"{seen['tag']} holds {few(found)}.", found, [])
    return Finding(
        True, f"{seen['tag']}: no test, notebook, data or .env among its {len(seen['files'])} files.", found, []
    )


@check(bento, after=looks_lean)
def of_this_service(seen: Facts) -> Finding:
    found = {"module": bentos.entry_module(seen["service"]), "runners": seen["runners"]}
    wanted = {"module": MODULE, "runners": RUNNERS}
    if found["module"] != MODULE:
        message = f"{seen['tag']} was built from {seen['service']}; the service of lab 02 is service:svc"
        return Finding(False, f"{message}.", found, wanted)
    if found["runners"] != RUNNERS:
        return Finding(False, f"{seen['tag']} has the runners {found['runners']}; lab 02 has {RUNNERS}.", found, wanted)
    return Finding(True, f"{seen['tag']} was built from {seen['service']}, with both runners.", found, wanted)


@check(bento, after=of_this_service)
def up_to_date(seen: Facts) -> Finding:
    """A Bento is a copy: what was edited afterwards is not in it."""
    if seen["stale"]:
        return Finding(False, f"{seen['tag']} is older than service/: {few(seen['stale'])}.", seen["stale"], [])
    return Finding(True, "Its sources and settings are those of service/ as it is now.", [], [])


@check(bento, after=looks_lean)
def no_secret_names(seen: Facts) -> Finding:
    found = seen["secret_names"]
    return Finding(not found, few(found) + "." if found else "No file's name speaks of a secret.", found, [])


@check(bento, after=[up_to_date, no_secret_names])
def only_needed(seen: Facts) -> Finding:
    """Every file of the Bento is the build's own, or the service imports it, or it is a configuration."""
    extra = [f"{f['path']} ({f['size'] / 1e6:.1f} MB)" if f["size"] > 1e5 else f["path"] for f in extras(seen)]
    if extra:
        size = sum(f["size"] for f in extras(seen))
        share = f"{size / seen['bytes']:.0%} of its {seen['bytes'] / 1e6:.1f} MB"
        return Finding(False, f"Serving needs no {few(extra)}: {share}.", extra, [])
    return Finding(
        True, f"Each of the {len(seen['files'])} files has a purpose ({seen['bytes'] / 1000:.0f} kB).", [], []
    )


def extras(seen: Facts) -> list[Facts]:
    return [f for f in seen["files"] if not f["purpose"]]


@check(bento, after=up_to_date)
def no_links(seen: Facts) -> Finding:
    if seen["links"]:
        message = f"A build copies a symbolic link as a link, not what it points to: {few(seen['links'])}"
        return Finding(False, f"{message}. In another place it points to nothing.", seen["links"], [])
    return Finding(True, "No file is a symbolic link.", [], [])


@check(bento, after=[no_links, up_to_date])
def complete(seen: Facts) -> Finding:
    if seen["imports_problem"]:
        return Finding(False, seen["imports_problem"], seen["imports_problem"], "")
    if seen["absent"]:
        message = f"The service imports {few(seen['absent'])}, which the build left out"
        return Finding(False, f"{message}: it serves from service/, and nowhere else.", seen["absent"], [])
    if seen["unsent"]:
        message = f"The service's code names {few(seen['unsent'])}, which is in service/ and not in the Bento"
        return Finding(False, f"{message}: a pod that opens it finds nothing.", seen["unsent"], [])
    return Finding(True, "Every module that the service imports is in it, and every file that it names.", [], [])


@check(bento, after=of_this_service)
def models_fixed(seen: Facts) -> Finding:
    found = {name: m["tag"] for name, m in seen["models"].items()}
    if sorted(found) != MODELS:
        named_models = ", ".join(found.values()) or "no model"
        return Finding(
            False, f"bento.yaml names {named_models}; the service uses {' and '.join(MODELS)}.", found, MODELS
        )
    if gone := [m["tag"] for m in seen["models"].values() if not m["there"]]:
        return Finding(False, f"bento.yaml names {few(gone)}, which the store does not have any more.", found, MODELS)
    return Finding(True, f"bento.yaml names {' and '.join(found.values())}, and the store has both.", found, MODELS)


@check(bento, after=of_this_service)
def every_package_pinned(seen: Facts) -> Finding:
    found = seen["loose"]
    if found:
        message = f"{seen['requirements']} fixes no version for {few(found)}"
        return Finding(False, f"{message}: each image would install what is newest that day.", found, [])
    if seen["beside"]:
        message = f"The image's own steps install {few(seen['beside'])} without a version"
        return Finding(False, f"{message}: it belongs in {seen['requirements']}, with one.", seen["beside"], [])
    return Finding(True, f"{seen['requirements']} has an exact version for {len(seen['exact'])} packages.", [], [])


@check(bento, after=every_package_pinned)
def nothing_unlisted(seen: Facts) -> Finding:
    """What a listed package needs is installed too, so it has to be listed with its version."""
    found, wanted = seen["unlisted"], "every package that is installed"
    if found:
        why = {p: m for m, p in seen["needed"].items()}
        asked = [f"{p} (imported as {why[p]})" if p in why else p for p in sorted(found, key=lambda p: p not in why)]
        message = f"{len(found)} packages get installed without a line in {seen['requirements']}"
        return Finding(False, f"{message}: {few(asked)}.", found, wanted)
    return Finding(True, "The list is closed: whatever a listed package needs is listed.", found, wanted)


@check(bento, after=every_package_pinned)
def torch_for_cpu(seen: Facts) -> Finding:
    torch = seen["exact"].get("torch", "")
    cuda = sorted(p for p in seen["exact"] if packages.CUDA.fullmatch(p))
    if cuda:
        message = f"{seen['requirements']} has {len(cuda)} packages of CUDA ({few(cuda, 2)}), gigabytes for a CPU"
        return Finding(False, f"{message}.", cuda, [])
    if torch and not torch.endswith("+cpu"):
        wanted = f"{torch.split('+')[0]}+cpu"
        message = f"torch=={torch} is on PyPI a CUDA build for Linux; the CPU build is called torch=={wanted}"
        return Finding(False, f"{message}.", torch, "+cpu")
    return Finding(True, f"torch {torch or '(not needed)'}: the CPU build.", torch, "+cpu")


@check(bento, after=every_package_pinned)
def same_as_trained(seen: Facts) -> Finding:
    """A pickle is opened by the package that wrote it."""
    pairs = {p: [seen["exact"].get(p, ""), v] for p, v in seen["wrote"].items()}
    other = [f"{p} {a}, trained with {b}" for p, (a, b) in pairs.items() if a and a.split("+")[0] != b.split("+")[0]]
    if other:
        return Finding(False, f"The pickles would be opened by other versions: {few(other)}.", pairs, "the same")
    return Finding(True, "The packages that open the pickles are those that wrote them.", pairs, "the same")


@check(bento, after=models_fixed)
def image_fixed(seen: Facts) -> Finding:
    """`latest` where a version belongs: a base image without a version, or a Python other than the models'."""
    docker = seen["docker"]
    base, python = docker.get("base_image"), str(docker.get("python_version") or "")
    trained = sorted({".".join(m["python"].split(".")[:2]) for m in seen["models"].values()})
    found, wanted = {"base_image": base, "python_version": python}, {"python_version": " and ".join(trained)}
    if not base and docker.get("distro") == "alpine":
        message = "docker.distro is alpine: its C library is musl, and torch has no build for that"
        return Finding(False, f"{message}, so the image cannot install it.", "alpine", "debian")
    if base and moves(base):
        return Finding(
            False, f"docker.base_image is {base}: another image every month.", found, "a version or a digest"
        )
    if base and (said := python_of(base)) and [said] != trained:
        message = f"docker.base_image is {base}; the models were pickled by Python {' and '.join(trained)}"
        return Finding(False, f"{message}.", found, wanted)
    if docker.get("cuda_version"):
        message = f"docker.cuda_version is {docker['cuda_version']}: the image would start from gigabytes of CUDA"
        return Finding(False, f"{message}, and the service runs on a CPU.", found, "none")
    if not base and [python] != trained:
        message = f"The image gets Python {python}; the models were pickled by {' and '.join(trained)}"
        return Finding(False, f"{message}.", found, wanted)
    return Finding(True, f"The image is {base or 'Python ' + python}.", found, wanted)


def moves(image: str) -> bool:
    """Whether what this name points to is another Python or another system every few months: no tag, one that names no
    version (slim, stable), or of Python's own images the major version alone. A digest fixes it."""
    if "@sha256:" in image:
        return False
    name, tag = name_and_tag(image)
    return bool(not tag or set(tag.split("-")) <= MOVING or (name == "python" and not python_of(image)))


def name_and_tag(image: str) -> tuple[str, str]:
    """python and 3.11-slim of registry:5000/library/python:3.11-slim@sha256:..."""
    name, _, tag = image.partition("@")[0].rpartition("/")[2].partition(":")
    return name, tag


def python_of(image: str) -> str:
    """3.11 of python:3.11.9-slim-bookworm, by digest or not; "" of other images."""
    name, tag = name_and_tag(image)
    found = re.match(r"(\d+\.\d+)(?![\d])", tag) if name == "python" else None
    return found[1] if found else ""


@check(bento, after=no_secret_names)
def no_secret_settings(seen: Facts) -> Finding:
    """Labels, docker.env, the index: what the build file says lands in bento.yaml and in the image, for all to read."""
    found = seen["secret_settings"]
    return Finding(not found, few(found) + "." if found else "No secret in what the build file became.", found, [])


@check(bento, after=no_secret_names)
def no_secret_contents(seen: Facts) -> Finding:
    found = seen["secret_contents"]
    return Finding(not found, few(found) + "." if found else "No secret in any other file.", found, [])


@check(serves, after=[complete, models_fixed])
def answers_alone(seen: Facts) -> Finding:
    answer, wanted = seen["answer"], {"labels": 2, "scores": 2}
    if seen["problem"]:
        message = f"In an empty folder, with its own models, the Bento does not serve: {seen['problem']}"
        return Finding(False, f"{message}.", seen["problem"], wanted)
    if seen["beside"]:
        message = f"The Bento's code opens {few(seen['beside'])} in your workspace, by a path of this machine"
        return Finding(False, f"{message}: a pod has no such file.", seen["beside"], wanted)
    told = {k: answer.get(k) for k in wanted} if isinstance(answer, dict) else {}
    if {k: len(v) if isinstance(v, list) else v for k, v in told.items()} != wanted:
        return Finding(False, f"Asked for two texts, the Bento answers {answer}.", answer, wanted)
    numbers = [s for s in told["scores"] or [] if isinstance(s, int | float) and 0 < s <= 1]
    if told["labels"] != LABELS or len(numbers) != len(LABELS):
        message = f"Asked for two tickets that are {' and '.join(LABELS)}, the Bento answers {answer}"
        return Finding(False, f"{message}: with these models, service/ answers otherwise.", answer, LABELS)
    return Finding(True, f"In an empty folder it labels two tickets {' and '.join(LABELS)}.", answer, LABELS)


@check(serves, after=answers_alone)
def loads_its_own(seen: Facts) -> Finding:
    """bento.yaml's tags are a list for whoever copies models; the code loads what it asks the store for."""
    found, wanted = seen["loads"], seen["named"]
    other = [f"{wanted.get(n)} and loads {t}" for n, tags in found.items() for t in tags if wanted.get(n) != t]
    if other:
        message = f"Where the store has newer models, the Bento names {few(other)}".replace(DECOY, "the newer one")
        return Finding(
            False, f"{message}: its code asks for `latest`, and nothing tells BentoML which that was.", found, wanted
        )
    if idle := sorted(name for name in wanted if not found.get(name)):
        message = f"The Bento names {few([wanted[n] for n in idle])}, and its code loads no model of that name"
        return Finding(False, f"{message} from the store: what answers is something else.", found, wanted)
    return Finding(True, "Where the store has newer models, it still loads those that it names.", found, wanted)
