"""sc4: the image of lab 04 lies in the registry, is made of the newest Bento, keeps no secret, and runs from there.

Two probes. `image` reads the registry as a node would, layer by layer, and asks no engine. `runs` pulls by digest and
asks a container of it. So neither depends on what happens to lie on this machine.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.specifiers import SpecifierSet

from cluster.names import TAG, read_names, state
from grader.errors import LabError
from grader.kit import check, probe
from grader.model import Facts, Finding
from grader.processes import run
from grader.world import bentos, containers, images, listeners, packages, secrets
from grader.world.releases import NAME, TEXTS, ask_apart, newest, released, untagged

BUDGET = 800_000_000  # bytes to pull: ours has 560 MB, the default one 670; a CUDA build of torch takes thousands
MODELS = ["demo_classifier", "demo_embedder"]
EDIT = 5_000_000  # bytes that travel after an edit of a source; ours has 30 kB
# What is for writing a service and not for running it, as packages are called.
WORKSHOP = re.compile(
    r"jupyter.*|notebook|ipython|ipykernel|nbconvert|papermill|jupytext|pytest(-.*)?|black|ruff|mypy|flake8|pylint"
)


@probe(limit=240)
def image(ws: Any) -> Facts:
    """The image in the registry; some 20 s at the first sight of a layer, 1 s later."""
    names = read_names()
    repository = names.repository(ws.name)
    facts: Facts = {"repository": repository, "tag": TAG, "bento": newest(ws.store), **released(ws.root)}
    short = repository.split("/", 1)[1]
    try:
        facts["tags"] = images.read_tags(names.address, short)
        found = images.read_image(names.address, short, TAG, state() / "layers")
    except images.NoImage as absent:
        return facts | {"problem": str(absent), "tags": facts.get("tags", [])}
    return facts | {"problem": "", **describe(found), **compare(found, ws.store, facts["bento"])}


def describe(found: images.Image) -> Facts:
    """What the image is made of, and what it gives away."""
    told = "\n".join([json.dumps(found.config, indent=0), *found.history, *found.notes])
    return {
        "digests": found.names,
        "packed": found.packed,
        "layers": len(found.layers),
        "nvidia": sum(layer.groups.get("nvidia", 0) for layer in found.layers),
        "above_sources": above_sources(found.layers),
        "source_layer": max((layer.packed for layer in found.layers if layer.groups.get("sources")), default=0),
        "secret_layers": [f"layer {i}: {s}" for i, layer in enumerate(found.layers) for s in layer.secrets][:5],
        "secret_settings": [str(s) for s in secrets.search("the settings and the history", without_bases(told))][:5],
    }


def above_sources(layers: list[images.Layer]) -> int:
    """Bytes of weights and packages that are brought after the sources' first layer: a step that runs again makes all
    steps after it run again, but for a COPY --link."""
    first = next((i for i, layer in enumerate(layers) if layer.groups.get("sources")), len(layers))
    system = {"sources", "the Bento's papers", "compilers and tools", "system and Python"}
    brought = [layer for layer in layers[first + 1 :] if re.match(r"COPY (?!.*--link)|ADD|.*install|$", layer.made_by)]
    return sum(layer.packed for layer in brought if layer.groups.keys() - system)


def without_bases(told: str) -> bytes:
    """Settings and history without what every base image has: keys of signatures, checksums, package lists."""
    known = r'"?(?:GPG_KEY|PYTHON_SHA256|PYTHON_GET_PIP_SHA256)=\w+"?|file:[0-9a-f]{64}|sha256:[0-9a-f]{64}'
    return re.sub(known, "", told).encode()


def compare(found: images.Image, store: Path, bento: str) -> Facts:
    """What in the image differs from the newest Bento and its models."""
    inside = laid_over(found.layers)
    folder = store / "bentos" / NAME / bento
    about = bentos.read_yaml(folder / "bento.yaml") if bento else {}
    wanted = {
        f"src/{p.relative_to(folder / 'src').as_posix()}": p for p in sorted((folder / "src").rglob("*")) if p.is_file()
    }
    wanted |= {"bento.yaml": folder / "bento.yaml"} if bento else {}
    models: dict[str, Path] = {}
    for model in about.get("models") or []:
        place = store / "models" / model["tag"].replace(":", "/")
        files = [p for p in sorted(place.rglob("*")) if p.is_file() and p.name != "model.yaml"]
        models |= {f"models/{model['tag'].replace(':', '/')}/{p.relative_to(place).as_posix()}": p for p in files}
    different = [name for name, path in wanted.items() if inside.get(name) != hashed(path)]
    return {
        "different": different + [f"{name} besides" for name in besides(inside, set(wanted))],
        "packages": other_packages(found.layers, folder / "env" / "python" / "requirements.txt"),
        "models": sorted(m["tag"] for m in about.get("models") or []),
        "weights_wrong": [name for name, path in models.items() if inside.get(name) != hashed(path)],
    }


def laid_over(layers: list[images.Layer]) -> dict[str, str]:
    """The Bento's files, as the layers lie over each other: a later layer's file hides an earlier one's."""
    inside: dict[str, str] = {}
    for layer in layers:
        above = [g for g in layer.gone if images.BENTO.startswith(f"{g.rstrip('/')}/")]
        gone = [g.removeprefix(images.BENTO) for g in layer.gone if g.startswith(images.BENTO)] + [""] * bool(above)
        hidden = tuple("" if g in ("", "/") else f"{g.rstrip('/')}/" for g in gone)
        inside = {k: v for k, v in inside.items() if k not in gone and not k.startswith(hidden)} | layer.bento
    return inside


def besides(inside: dict[str, str], wanted: set[str]) -> list[str]:
    """Code among the sources that the Bento has not, and that Python may take in the place of what it has."""
    more = {name: hashed for name, hashed in inside.items() if name.startswith("src/") and name not in wanted}
    code = [n for n, h in more.items() if n.endswith((".py", ".so", ".pth")) or h.startswith("a link")]
    return sorted({*code, *(n for n, h in more.items() if h == images.UNCHECKED)})


def other_packages(layers: list[images.Layer], requirements: Path) -> list[str]:
    """Packages at other versions than the Bento's, and those that are for writing a service, not for running it."""
    there: dict[str, tuple[str, str]] = {}
    for layer in layers:
        gone = tuple(f"{g.rstrip('/')}/" for g in layer.gone)
        there = {k: v for k, v in there.items() if not f"{k}/".startswith(gone)} | layer.installed
    found: dict[str, set[str]] = {}
    for name, version in there.values():
        found.setdefault(packages.canonical(name), set()).add(version)
    pins = packages.read_pins(requirements.read_text()).exact if requirements.is_file() else {}
    wrong = [f"{name} {', '.join(sorted(found[name]))}, not {pin}" for name, pin in pins.items()
             if name in found and not any(SpecifierSet(f"=={pin}").contains(v, True) for v in found[name])]  # fmt: skip
    return wrong + sorted(
        f"{name}, which no service needs" for name in found.keys() - pins.keys() if WORKSHOP.fullmatch(name)
    )


def hashed(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "absent"


@probe(limit=240)
def runs(ws: Any) -> Facts:
    """A container of the tagged image, pulled by the digest that the registry gives today; 15 to 40 s."""
    names = read_names()
    repository = names.repository(ws.name)
    try:
        digests, entry = images.read_start(names.address, repository.split("/", 1)[1], TAG)
    except images.NoImage as absent:
        return {"problem": str(absent), "log": "", "image": "", "release": ""}
    release = untagged(released(ws.root)["release"])
    name = next((n for d in digests if (n := f"{repository}@{d}") == release), f"{repository}@{digests[0]}")
    if problem := containers.pull(name):
        return {"problem": problem, "log": "", "image": name, "release": release}
    whole = not entry or re.search(r"\bserve\b", " ".join(entry))  # it starts the server by itself
    with containers.running(name, words=() if whole else containers.SERVE) as box:
        facts: Facts = {
            "image": name,
            "release": release,
            "problem": box.problem,
            "seconds": box.seconds,
            "log": box.log() if box.problem else "",
        }
        if box.problem:
            return facts
        answer = {key: value for key, value in ask_apart(box.ask).items() if key not in ("texts", "late")}
        return facts | {"user": box.user(), "answer": answer, "wanted": list(TEXTS.values()), "process": box.look()}


# ---------------------------------------------------------------- the module's own form


@check(image)
def tagged_in_registry(seen: Facts) -> Finding:
    wanted = f"{seen['repository']}:{seen['tag']} in the registry"
    found = f"tags there: {', '.join(seen['tags']) or 'none'}" if not seen["problem"] else seen["problem"]
    good = not seen["problem"] and seen["tag"] in seen["tags"]
    return Finding(good, "the image is in the local registry, under its tag", found, wanted)


# ---------------------------------------------------------------- what is in it


@check(image, after=tagged_in_registry)
def of_this_bento(seen: Facts) -> Finding:
    wanted = f"sources, packages and bento.yaml of {NAME}:{seen['bento'] or 'a Bento, of which the store has none'}"
    wrong = [*seen["different"], *seen["packages"]]
    found = f"not as in the Bento: {', '.join(wrong[:4])}" if wrong else "all as in the Bento"
    return Finding(bool(seen["bento"]) and not wrong, "the image is made of the newest Bento", found, wanted)


@check(image, after=tagged_in_registry)
def weights_inside(seen: Facts) -> Finding:
    wrong, there = seen["weights_wrong"], ", ".join(seen["models"]) or "no model"
    found = f"absent, or not as in the store: {', '.join(wrong[:3])}" if wrong else f"{there}, as saved"
    both = [tag.split(":")[0] for tag in sorted(seen["models"])] == MODELS
    return Finding(both and not wrong, "both models' weights are in the image", found, "both, as saved")


@check(image, after=tagged_in_registry)
def no_cuda(seen: Facts) -> Finding:
    weight = seen["nvidia"]
    found = f"{weight / 1e6:.0f} MB of nvidia's packages" if weight else "no nvidia package"
    return Finding(weight == 0, "no libraries of a GPU are in an image for the CPU", found, "no nvidia package")


@check(image, after=tagged_in_registry)
def within_budget(seen: Facts) -> Finding:
    found = f"{seen['packed'] / 1e6:.0f} MB in {seen['layers']} layers"
    return Finding(
        0 < seen["packed"] <= BUDGET, "a node can pull it in reasonable time", found, f"at most {BUDGET / 1e6:.0f} MB"
    )


@check(image, after=tagged_in_registry)
def edits_are_small(seen: Facts) -> Finding:
    found = f"the layer of the sources has {seen['source_layer'] / 1e6:.2f} MB"
    found += f"; above it are {seen['above_sources'] / 1e6:.0f} MB of weights or packages" * bool(seen["above_sources"])
    wanted = f"at most {EDIT / 1e6:.0f} MB: a layer without weights or packages, and above all of them"
    good = 0 < seen["source_layer"] <= EDIT and 0 <= seen["above_sources"] <= EDIT
    return Finding(good, "an edit of a source moves no weights", found, wanted)


# ---------------------------------------------------------------- what it gives away


@check(image, after=tagged_in_registry)
def no_secret_in_layers(seen: Facts) -> Finding:
    found = "; ".join(seen["secret_layers"]) or "none found"
    return Finding(not seen["secret_layers"], "no layer holds a secret, also none deleted later", found, "none")


@check(image, after=tagged_in_registry)
def no_secret_in_history(seen: Facts) -> Finding:
    found = "; ".join(seen["secret_settings"]) or "none found"
    return Finding(not seen["secret_settings"], "settings, labels and history hold no secret", found, "none")


# ---------------------------------------------------------------- its name


@check(image, after=tagged_in_registry)
def released_by_digest(seen: Facts) -> Finding:
    names = [f"{seen['repository']}@{digest}" for digest in seen["digests"]]
    found = (
        f"{seen['release']}, of {seen['release_bento'] or 'no Bento'}" if seen["release"] else seen["release_problem"]
    )
    good = untagged(seen["release"]) in names and seen["release_bento"] in (seen["bento"], f"{NAME}:{seen['bento']}")
    wanted = f"{' or '.join(names)}, of {seen['bento']}"
    return Finding(good, "the release names the image by its digest, and its Bento", found, wanted)


# ---------------------------------------------------------------- that it runs


@check(runs, after=[tagged_in_registry, weights_inside, released_by_digest])
def runs_from_registry(seen: Facts) -> Finding:
    """What was looked at is what is run: a tag that moves meanwhile is another image's."""
    if not seen["problem"] and seen["image"] != seen["release"]:
        message = "the tag was moved while this was graded: what runs is not what was released"
        return Finding(False, message, seen["image"], seen["release"])
    found = f"{seen['problem']}{': ' if seen['log'] else ''}{seen['log']}" or f"ready after {seen['seconds']:g} s"
    return Finding(not seen["problem"], "a container of it gets ready", found, "ready within 90 s, with no capability")


@check(runs, after=runs_from_registry)
def not_root(seen: Facts) -> Finding:
    good = bool(re.fullmatch(r"[1-9]\d*:[1-9]\d*", seen["user"]))
    return Finding(good, "what runs in it is not root", f"user {seen['user']}", "a user and a group other than 0")


@check(runs, after=[runs_from_registry, of_this_bento])
def answers_well(seen: Facts) -> Finding:
    """What answers is the Bento in the image: not another one beside it, nor one with other code before it."""
    answer = seen["answer"]
    body = answer["body"] if isinstance(answer["body"], dict) else {}
    scores = body.get("scores") if isinstance(body.get("scores"), list) else []
    numbers = [s for s in scores or [] if isinstance(s, int | float) and 0 < s <= 1]
    good = answer["status"] == 200 and not answer["problem"]
    good = good and body.get("labels") == seen["wanted"] and len(numbers) == len(scores or []) == len(seen["wanted"])
    odd = listeners.strange(seen["process"])
    found = answer["problem"] or odd or f"{answer['status']}: {str(answer['body'])[:160]}"
    return Finding(
        good and not odd, "it labels texts as the saved models do", found, f"200 with {seen['wanted']} and a score each"
    )


# ---------------------------------------------------------------- what mutants need


def named(ws: Any) -> str:
    """The walk's image by digest, from its release file: what a mutant is made from."""
    name = released(ws.root)["release"]
    if "@sha256:" not in name:
        raise LabError("The checkpoint has no deploy/release.json that names a digest.", "`./lab walk` makes it.")
    return str(name)


def docker(*words: str, limit: float = 180) -> str:
    done = run(["docker", *words], limit)
    if not done.ok:
        raise LabError(f"`docker {' '.join(words)[:120]}` ended with {done.code}: {done.tail(4)}")
    return done.output


def put(ws: Any, source: str, tag: str = TAG) -> str:
    """Pushes a local image under the scratch workspace's own repository; its name there, by digest."""
    target = f"{read_names().repository(ws.name)}:{tag}"
    docker("tag", source, target)
    try:
        told = docker("push", target)
    finally:
        docker("image", "rm", target)
    digest = re.search(r"digest: (sha256:[0-9a-f]{64})", told)
    return f"{target.rpartition(':')[0]}@{digest[1] if digest else ''}"


def release(ws: Any, name: str) -> None:
    path = ws.root / "deploy" / "release.json"
    path.write_text(json.dumps({"image": name, "bento": newest(ws.store)}))


def forget(ws: Any) -> None:
    """Takes what the engine has of the scratch workspace's repository: the probe pulled it by its digest."""
    rows = docker("images", "--digests", "--format", "{{.Digest}}", read_names().repository(ws.name)).split()
    for digest in {row for row in rows if row.startswith("sha256:")}:
        run(["docker", "image", "rm", "--force", f"{read_names().repository(ws.name)}@{digest}"], 60)


@contextlib.contextmanager
def pushed(ws: Any) -> Iterator[None]:
    """The image of the mutant's Dockerfile (FROM the walk's image), or the walk's own, pushed and released."""
    base, recipe = named(ws), ws.root / "mutant" / "Dockerfile"
    docker("pull", "--quiet", base)
    local = f"serving-lab-mutant:{ws.name}"
    if recipe.is_file():
        recipe.write_text(f"FROM {base}\n{recipe.read_text()}")
        docker("build", "--quiet", "--tag", local, str(recipe.parent), limit=280)
    else:
        docker("tag", base, local)
    try:
        release(ws, put(ws, local))
        yield
    finally:
        docker("image", "rm", "--force", local)
        forget(ws)


@contextlib.contextmanager
def pushed_twice(ws: Any) -> Iterator[None]:
    with pushed(ws):
        docker("pull", "--quiet", named(ws))
        put(ws, named(ws), "v1.0")
        yield


@contextlib.contextmanager
def as_typed(ws: Any) -> Iterator[None]:
    """What the workspace's own commands make and push, and nothing else; the engine forgets it afterwards."""
    try:
        yield
    finally:
        for tag in (TAG, "moving"):
            run(["docker", "image", "rm", "--force", f"{read_names().repository(ws.name)}:{tag}"], 60)
        forget(ws)


@contextlib.contextmanager
def only_latest(ws: Any) -> Iterator[None]:
    docker("pull", "--quiet", named(ws))
    release(ws, put(ws, named(ws), "latest"))
    yield


@contextlib.contextmanager
def unreleased(ws: Any) -> Iterator[None]:
    with pushed(ws):
        (ws.root / "deploy" / "release.json").unlink()
        yield


@contextlib.contextmanager
def released_an_older_one(ws: Any) -> Iterator[None]:
    """The release names an image that has been in the registry, and that the tag does not mean any more."""
    with pushed(ws):
        release(ws, f"{read_names().repository(ws.name)}@sha256:{'0' * 64}")
        yield


@contextlib.contextmanager
def released_another_bento(ws: Any) -> Iterator[None]:
    """The digest is right, and the Bento beside it is another one."""
    with pushed(ws):
        path = ws.root / "deploy" / "release.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "bento": "an0ther0ne"}))
        yield


@contextlib.contextmanager
def released_with_a_tag(ws: Any) -> Iterator[None]:
    with pushed(ws):
        path = ws.root / "deploy" / "release.json"
        found = json.loads(path.read_text())
        named = {**found, "image": found["image"].replace("@", f":{TAG}@"), "by": "the triage team"}
        path.write_text(json.dumps(named), encoding="utf-8-sig")
        yield
