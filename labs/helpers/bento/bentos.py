"""What lies in a Bento: its tree, its audit, and two Bentos side by side. `python -m labs.helpers.bento` builds one."""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from grader.world.bentos import File, audit
from grader.world.secrets import search, search_name
from labs.helpers.charts.canvas import BLUE, GREY, ORANGE, Picture, canvas
from labs.helpers.store.models import size
from labs.helpers.teaching.serve import NO_COLOURS

NAME = "demo_text_intelligence"


def clean_copy(folder: str | Path = "service") -> Path:
    """A copy to build from, in a new folder that goes when the kernel does. BentoML 1.4.39 reads no build file below a
    folder whose name begins with a dot, and this keeps what Python and editors leave behind out of reach as well."""
    target = Path(tempfile.mkdtemp(prefix="build-"))
    atexit.register(shutil.rmtree, target, ignore_errors=True)
    shutil.copytree(folder, target / "service", symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    return target / "service"


class Desk:
    """A place to try builds: a copy of service/ and a store of its own, whose models are links to yours. What is built
    or saved here is gone with the kernel, and your own Bentos and `latest` stay as they are."""

    def __init__(self, folder: str | Path = "service", store: str | Path = "store", ignore: bool = False) -> None:
        """With `ignore`, your .bentoignore comes along. In commands: $LAB_DESK, $LAB_DESK_STORE."""
        self.service = clean_copy(folder)
        # from an earlier run: it begins without
        for own in ("bentofile.yaml", "requirements.txt", *([] if ignore else [".bentoignore"])):
            (self.service / own).unlink(missing_ok=True)
        self.store = self.service.with_name("store")
        for model in (Path(store).resolve() / "models").glob("*/*/"):
            target = self.store / "models" / model.parent.name
            target.mkdir(parents=True, exist_ok=True)
            (target / model.name).symlink_to(model)
            shutil.copy(model.parent / "latest", target / "latest")
        if not ignore:
            os.environ |= {"LAB_DESK": str(self.service), "LAB_DESK_STORE": str(self.store)}

    @property
    def bento(self) -> Path:
        """The folder of what was built last."""
        return latest(self.store)

    def write(self, name: str, text: str) -> None:
        path = self.service / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run(self, *words: str, folder: Path | None = None, **env: str) -> str:
        """What a command prints that runs with this store, in service/ unless told otherwise; or its complaint."""
        plain = {k: v for k, v in os.environ.items() if k not in NO_COLOURS}
        environ = {**plain, **env, "BENTOML_HOME": env.get("BENTOML_HOME", str(self.store))}
        done = subprocess.run(words, cwd=folder or self.service, env=environ, capture_output=True, text=True)
        if done.returncode:
            return f"it failed: {(done.stderr.strip().splitlines() or ['no word why'])[-1]}"
        return "\n".join(line for line in done.stdout.splitlines() if line.strip())

    def build(self) -> str:
        """`bentoml build` here: the Bento that it made, or the problem."""
        told = self.run("bentoml", "build", "-o", "tag").replace(str(self.service), "service")
        return told.replace("__tag__:", "built ")


PLANTED = (".env", "server.pem", "client.key", "id_rsa", "look.ipynb", "data/sample.csv", "tests/test_it.py")


def planted_and_built() -> list[str]:
    """Which of these files get into a Bento of service/ that leaves out nothing but what your .bentoignore says."""
    desk = Desk(ignore=True)
    for name in PLANTED:
        desk.write(name, "a made-up file")
    desk.write("bentofile.yaml", 'service: "service:svc"\npython: {lock_packages: false}\n')
    print(f"{desk.build()}, with the default `include`, which is *")
    return [name for name in PLANTED if (desk.bento / "src" / name).exists()]


def made_up_token() -> str:
    """A token that opens nothing, in the form of a code host's."""
    return f"ghp_{secrets.token_hex(18)}"


def where(bento: Path, text: str) -> list[str]:
    """The files of the Bento in which that text stands."""
    files = [p for p in sorted(bento.rglob("*")) if p.is_file()]
    return [p.relative_to(bento).as_posix() for p in files if text.encode() in p.read_bytes()]


def latest(store: str | Path = "store", name: str = NAME) -> Path:
    """The folder of the newest Bento of that name."""
    bentos = Path(store) / "bentos" / name
    return bentos / (bentos / "latest").read_text().strip()


def draw_tree(bento: Path, sources: str | Path = "service") -> Picture:
    """One bar a file, by folder, with what it is for; what nothing needs is hatched."""
    found, _ = audit(bento, Path(sources))
    figure, axes = canvas("What is in the Bento, and what is it for?", 10, 0.9 + 0.3 * len(found))
    for i, file in enumerate(found):
        colour = BLUE if file.purpose else ORANGE
        axes.barh(i, max(file.size, 1), color=colour if file.purpose else "white", edgecolor=colour, height=0.6,
                  hatch="" if file.purpose else "////")  # fmt: skip
        note = file.purpose or f"NOTHING NEEDS IT{': ' * bool(file.kind)}{file.kind}"
        axes.text(max(file.size, 1) * 1.2, i, f"{size(file.size)}  {note}", va="center", fontsize=8)
    axes.set_yticks(range(len(found)), [f.path for f in found], fontsize=8, family="monospace")
    axes.invert_yaxis()
    axes.set_xscale("log")
    top = max(f.size for f in found)
    axes.set_xlim(1, top**1.9)
    axes.set_xticks([1, 1e3, 1e6] if top > 1e6 else [1, 1e3], ["1 B", "1 kB", "1 MB"][: 3 if top > 1e6 else 2])
    axes.minorticks_off()
    axes.set_xlabel("size (each mark is a thousand times the one before)", color=GREY)
    return Picture(figure, tree_finding(found))


def tree_finding(found: list[File]) -> str:
    spare = [f for f in found if not f.purpose]
    told = f"{len(found)} files, {size(sum(f.size for f in found))}."
    if not spare:
        return f"{told} Each has a purpose."
    share = sum(f.size for f in spare) / sum(f.size for f in found)
    return f"{told} {len(spare)} of them serve nothing, and they are {share:.0%} of the bytes."


def report(bento: Path, sources: str | Path = "service") -> str:
    """The audit in words: what nothing needs, what is missing, and what looks like a secret."""
    found, needs = audit(bento, Path(sources))
    lines = [f"{len(found)} files, {sum(1 for f in found if f.purpose)} with a purpose"]
    lines += [f"  not needed   {f.path}{f' ({f.kind})' * bool(f.kind)}" for f in found if not f.purpose]
    there = {f.path.removeprefix("src/") for f in found}
    lines += [f"  MISSING      src/{name}" for name in sorted(needs.files - there)]
    for file in found:
        data = b"" if file.link else (bento / file.path).read_bytes()
        lines += [f"  SECRET?      {s}" for s in [*search_name(file.path), *search(file.path, data)]]
    return "\n".join(lines)


def compare(one: Path, other: Path) -> str:
    """What two Bentos have different, file by file, and for small texts line by line."""
    names = sorted({p.relative_to(b).as_posix() for b in (one, other) for p in b.rglob("*") if p.is_file()})
    lines = [f"{one.name} -> {other.name}"]
    for name in names:
        before, after = (b / name for b in (one, other))
        if not before.exists() or not after.exists():
            lines.append(f"  {'added  ' if after.exists() else 'gone   '} {name}")
        elif before.read_bytes() != after.read_bytes():
            lines += [f"  changed {name}", *_changed_lines(before, after)]
    return "\n".join([*lines, f"  {len(names)} files compared"])


def _changed_lines(before: Path, after: Path, most: int = 6) -> list[str]:
    texts = [p.read_text(errors="replace").splitlines() for p in (before, after)]
    gone, new = ([x.strip() for x in a if x not in b] for a, b in (texts, texts[::-1]))
    shown = [f"            - {x[:90]}" for x in gone[:most]] + [f"            + {x[:90]}" for x in new[:most]]
    return shown or ["            the same lines in another order"]


def yaml_part(path: Path, *keys: str) -> str:
    """Those top-level entries of a YAML file, as they stand there."""
    lines, out, on = path.read_text().splitlines(), [], False
    for line in lines:
        if line[:1] not in (" ", "-", ""):
            on = line.split(":")[0] in keys
        out += [line] if on else []
    return "\n".join(out)


def build(options: Iterable[str] = ()) -> int:
    """`bentoml build` in a clean copy of service/; its exit code."""
    command = [sys.executable, "-W", "ignore", "-m", "bentoml", "build", "-o", "tag", *options]
    return subprocess.run(command, cwd=clean_copy()).returncode
