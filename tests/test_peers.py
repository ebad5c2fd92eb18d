"""`./lab bench peers`: who is compared and how each is asked; one that answers wrongly or cannot be had is no row."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from grader.errors import BadKit, UnknownName
from grader.processes import Completed, carriers
from labs.helpers.limit import rounds, runs, steps
from labs.helpers.limit.asker import Load
from labs.helpers.limit.contestant import TEXT, WrongAnswers
from labs.helpers.limit.interleave import Plan
from labs.helpers.peers import answers, asking, environments, page, peers, serving
from labs.helpers.peers.contestants import contestant
from labs.helpers.peers.contestants import role as role_of_process
from labs.helpers.peers.peers import HERE, Peer

PEERS = peers.read()
TEXTS = [f"ticket {number}" for number in range(40)]


# ---------------------------------------------------------------- peers.toml


@pytest.mark.parametrize("peer", PEERS.values(), ids=list(PEERS))
def test_a_peer_is_whole(peer: Peer) -> None:
    assert all(lines > 0 for lines in peer.lines().values()) and peer.lines()
    if peer.step:
        assert peer.step in steps.KNOWN and not peer.program
        return
    program, environ = peer.filled(port=1, free=2, cores=3, project="x")
    given = [*program, *environ.values()]
    assert not [part for part in given if "{" in part] and "1" in given
    assert (HERE / "pins" / peer.pins).is_file() or peer.pins in ("", "mlserver")
    assert peer.title and peer.batches and peer.form


@pytest.mark.parametrize("pins", sorted((HERE / "pins").glob("*.txt")), ids=lambda path: path.name)
def test_every_pin_has_its_hashes_and_names_no_index(pins: Path) -> None:
    text = pins.read_text()
    packages = re.split(r"\n(?=[a-z0-9])", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    assert len(packages) > 1 and all("==" in p and "--hash=sha256:" in p for p in packages)
    assert "://" not in text and "torch==" not in text and "numpy==" not in text
    assert any(peer.pins == pins.name for peer in PEERS.values())


def test_every_file_of_servers_belongs_to_a_peer() -> None:
    there = {
        p.relative_to(HERE).as_posix() for p in (HERE / "servers").rglob("*") if p.is_file() and p.suffix != ".pyc"
    }
    assert there == {name for peer in PEERS.values() for name in peer.files if name.startswith("servers/")}


def test_a_peer_that_nobody_knows_is_a_wrong_call() -> None:
    assert [peer.name for peer in peers.choose(("litserve",))] == ["litserve"]
    assert len(peers.choose(())) == len(PEERS)
    with pytest.raises(UnknownName, match="'tritn'"):
        peers.choose(("tritn",))


def test_a_peer_of_a_form_that_is_none_is_a_defect_of_the_kit(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text('[a]\ntitle="a"\nfiles=[]\nprogram=[]\nform="soap"\nbatches=""\n')
    with pytest.raises(BadKit, match="soap"):
        peers.read(tmp_path / "p.toml")


# ---------------------------------------------------------------- how they are asked


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("plain", {"labels": ["billing"], "scores": [0.5]}),
        ("rows", [{"label": "billing", "score": 0.5}]),
        ("v2", {"outputs": [{"name": "scores", "data": [0.5]}, {"name": "labels", "data": ["billing"]}]}),
    ],
)
def test_every_form_reads_label_and_score(form: str, said: Any) -> None:
    assert asking.FORMS[form].read(said) == ("billing", 0.5)
    assert "a parcel" in json.dumps(asking.FORMS[form].body("a parcel"))
    assert json.loads(asking.template(asking.FORMS[form]).replace(TEXT, "x")) == asking.FORMS[form].body("x")


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("plain", {"labels": [], "scores": []}),
        ("plain", {"labels": ["a", "b"], "scores": [0.1, 0.2]}),
        ("rows", []),
        ("v2", {"outputs": []}),
        ("plain", {"error": "overloaded"}),
    ],
)
def test_what_is_no_answer_is_not_read_as_one(form: str, said: Any) -> None:
    with pytest.raises((LookupError, TypeError, ValueError)):
        asking.FORMS[form].read(said)


# ---------------------------------------------------------------- are the answers right?


@contextmanager
def answering(answer: Callable[[str], Any]) -> Iterator[str]:
    """A server that says `answer(text)` to a plain request."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            text = json.loads(self.rfile.read(int(self.headers["content-length"])))["texts"][0]
            body = json.dumps(answer(text)).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=[0.02], daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def label_of(text: str) -> str:
    return "odd" if int(text.split()[1]) % 2 else "even"


def right_answer(text: str) -> Any:
    return {"labels": [label_of(text)], "scores": [0.75]}


RIGHT = {text: (label_of(text), 0.75) for text in TEXTS}


def test_right_answers_pass_whatever_their_last_digits() -> None:
    with answering(lambda text: {**right_answer(text), "scores": [0.7504]}) as url:
        assert answers.check("a peer", url, asking.FORMS["plain"], RIGHT) == len(RIGHT)


@pytest.mark.parametrize("wrong", ["label", "score"])
def test_one_wrong_answer_of_forty_is_refused(wrong: str) -> None:
    def answer(text: str) -> Any:
        changed = {"labels": ["other"]} if wrong == "label" else {"scores": [0.7]}
        return right_answer(text) | (changed if text == TEXTS[23] else {})

    with (
        answering(answer) as url,
        pytest.raises(WrongAnswers, match=r"a peer answers 1 of 40 texts otherwise: 'ticket 23'.*says odd, 0\.7500"),
    ):
        answers.check("a peer", url, asking.FORMS["plain"], RIGHT)


def test_a_peer_that_mixes_its_callers_up_is_refused() -> None:
    """It gives everyone the answer to what came before, which a single text asked over and over would not show."""
    last = ["ticket 0"]

    def answer(text: str) -> Any:
        before, last[0] = last[0], text
        return right_answer(before)

    with answering(answer) as url, pytest.raises(WrongAnswers):
        answers.check("a peer", url, asking.FORMS["plain"], RIGHT)


def test_a_peer_that_answers_with_something_else_is_refused() -> None:
    with answering(lambda _: {"error": "busy"}) as url, pytest.raises(WrongAnswers, match="no label and score"):
        answers.check("a peer", url, asking.FORMS["plain"], RIGHT)


# ---------------------------------------------------------------- the batcher that a team writes


def load_batcher() -> Any:
    """servers/ is no package: what is there runs in another environment."""
    spec = importlib.util.spec_from_file_location("batcher", HERE / "servers" / "batcher.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["batcher"] = module
    spec.loader.exec_module(module)
    return module


class Counting:
    """Doubles numbers, slowly, and keeps the size of each call. It fails for a call that holds a 13."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, items: list[int]) -> list[int]:
        self.calls.append(len(items))
        time.sleep(0.01)
        if 13 in items:
            raise ValueError("13")
        return [2 * item for item in items]


async def ask_all(compute: Callable[[list[int]], list[int]], items: list[int], largest: int = 4) -> list[Any]:
    batcher = load_batcher().Batcher(compute, largest)
    task = asyncio.create_task(batcher.run())
    try:
        return await asyncio.wait_for(asyncio.gather(*map(batcher.ask, items), return_exceptions=True), 5)
    finally:
        task.cancel()


def test_the_batcher_gives_each_caller_its_own_result_and_holds_its_limit() -> None:
    compute = Counting()
    assert asyncio.run(ask_all(compute, list(range(10)))) == [2 * number for number in range(10)]
    assert compute.calls == [4, 4, 2]


def test_a_failed_call_reaches_its_own_callers_and_the_next_one_works() -> None:
    found = asyncio.run(ask_all(Counting(), [1, 13, 2, 3, 4, 5]))
    assert [type(one) for one in found[:4]] == [ValueError] * 4 and found[4:] == [8, 10]


def test_a_call_that_returns_too_few_results_gives_nobody_another_ones() -> None:
    found = asyncio.run(ask_all(lambda items: items[:-1], [1, 2, 3]))
    assert [type(one) for one in found] == [ValueError] * 3


def test_a_caller_that_goes_away_harms_no_one() -> None:
    async def leave_one() -> list[int]:
        batcher = load_batcher().Batcher(Counting(), 4)
        task = asyncio.create_task(batcher.run())
        asked = [asyncio.create_task(batcher.ask(number)) for number in range(6)]
        await asyncio.sleep(0.005)  # the first four are being computed
        asked[1].cancel()
        asked[5].cancel()
        found = [await asked[number] for number in (0, 2, 3, 4)]
        task.cancel()
        return found

    assert asyncio.run(asyncio.wait_for(leave_one(), 5)) == [0, 4, 6, 8]


# ---------------------------------------------------------------- environments, and starting

STUB = """
import json, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        body = json.dumps({"labels": ["billing"], "scores": [0.9]}).encode()
        self.send_response(200); self.send_header("content-length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def peer_of(*program: str, pins: str = "") -> Peer:
    return Peer("stub", "a stub", (), "plain", "none", pins, program)


def test_a_peer_is_started_asked_and_ended(tmp_path: Path) -> None:
    with serving.serving(peer_of("python", "-c", STUB, "{port}"), tmp_path) as running:
        assert 0 < running.seconds < 20 and not running.problem and len(carriers(running.mark)) == 1
    assert running.process.poll() is not None


def test_a_peer_that_ends_is_not_serving_and_its_log_says_why(tmp_path: Path) -> None:
    with (
        pytest.raises(serving.NotServing, match=r"(?s)exit code 3.*no such model"),
        serving.serving(peer_of("python", "-c", "import sys; print('no such model'); sys.exit(3)", "{port}"), tmp_path),
    ):
        raise AssertionError("it serves")


def test_a_peer_that_gives_no_answer_in_time_is_not_serving(tmp_path: Path) -> None:
    with (
        pytest.raises(serving.NotServing, match=r"no answer in 0\.4 s"),
        serving.serving(peer_of("python", "-c", "import time; time.sleep(60)", "{port}"), tmp_path, patience=0.4),
    ):
        raise AssertionError("it serves")


@pytest.fixture
def no_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose package index has none of it."""
    monkeypatch.setenv("LAB_KIT", str(tmp_path))

    def run(command: list[str], *_: Any, **__: Any) -> Completed:
        is_pip = "pip" in command
        return Completed(int(is_pip), "no version of ray matches the requirement" if is_pip else "", 0.1)

    monkeypatch.setattr(environments, "run", run)


@pytest.mark.usefixtures("no_index")
def test_a_peer_that_cannot_be_installed_is_absent_with_the_reason() -> None:
    with pytest.raises(environments.Absent, match="no version of ray matches"):
        environments.bring(PEERS["ray-serve"])
    assert not (environments.folder(PEERS["ray-serve"]) / "made").exists()


def test_an_environment_is_made_once_and_again_when_its_pins_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_KIT", str(tmp_path))
    made: list[Path] = []

    def install(pins: Path, target: Path) -> None:
        target.mkdir(parents=True, exist_ok=True)
        made.append(pins)

    monkeypatch.setattr(environments, "install", install)
    for _ in range(2):
        environments.bring(PEERS["litserve"])
    assert len(made) == 1
    monkeypatch.setattr(environments, "digest", lambda pins: "another")
    environments.bring(PEERS["litserve"])
    assert len(made) == 2


# ---------------------------------------------------------------- a round, and the page


def test_a_round_of_a_peer_that_answers_otherwise_has_no_figures(tmp_path: Path) -> None:
    them = contestant(peer_of("python", "-c", STUB, "{port}"), tmp_path, {"a parcel": ("shipping", 0.9)})
    entry = rounds.measure(them, Load(clients=2, seconds=0.2, warm=0.1), 1)
    assert "a stub answers 1 of 1 texts otherwise" in entry["problem"] and "goodput" not in entry
    assert page.rows([entry]) == [] and "a stub" in next(iter(page.failed([{**entry, "round": 1}])))


@pytest.mark.parametrize(
    ("command", "role"),
    [
        ("python -m bentoml_cli.worker.runner --runner-name embeddingrunner --fd 3", "embeddingrunner"),
        ("python -m _bentoml_impl.worker.service x:A --service-name Embedder --fd 3", "Embedder"),
        ("ray::ServeReplica:default:Service", "ServeReplica"),
        ("/x/ray/core/src/ray/raylet/raylet --store", "raylet"),
        ("/x/bin/python -m uvicorn app:app --workers 2", "uvicorn"),
        ("/x/bin/python -c from multiprocessing.spawn import spawn_main; spawn_main(1)", "worker"),
        ("/x/bin/python /x/bin/mlserver start mlserver", "mlserver"),
        ("/x/bin/python -c from multiprocessing.resource_tracker import main;main(5)", "helper"),
    ],
)
def test_a_process_is_called_by_what_it_is_for(command: str, role: str) -> None:
    assert role_of_process(command.split()) == role


def entry_of(name: str, number: int, r: float, **changed: Any) -> dict[str, Any]:
    title = {"ours": "this kit's service"}.get(name, f"The {name}")
    facts = {"title": title, "version": "x 1", "batches": "none", "program": "x", "lines": {"a": 7}, "checked": 120}
    entry = {
        "name": name, "round": number, "problem": "", "facts": facts, "goodput": 800 * r, "raw": 800, "r": r,
        "p50_ms": 90, "p95_ms": 140, "ends": {"200": 990, "503": 2}, "ends_warm": {"200": 8}, "pss_mb": 900,
        "processes": [{"role": "api", "pss_mb": 300}, {"role": "worker", "pss_mb": 600}], "first_s": 6.5,
    }  # fmt: skip
    return {**entry, **changed}


def entries_of(shares: dict[str, tuple[float, ...]]) -> list[dict[str, Any]]:
    return [entry_of(name, at, r) for name, rs in shares.items() for at, r in enumerate(rs, 1)]


@pytest.mark.parametrize(
    ("ours", "wanted"),
    [
        (
            (0.80, 0.82, 0.84),
            "This kit's service: R 0.82. Below it in each round: The b (0.70) and The a (0.30).",
        ),
        (
            (0.60, 0.62, 0.64),
            "This kit's service: R 0.62. Above it in each round: The b (0.70). Below it in each round: The a (0.30).",
        ),
        (
            (0.66, 0.71, 0.72),
            "This kit's service: R 0.71. The b (0.70) cannot be told apart from it in rate: "
            "their rounds overlap with its own. Below it in each round: The a (0.30).",
        ),
    ],
)
def test_the_finding_is_what_the_rounds_say(ours: tuple[float, ...], wanted: str) -> None:
    made = page.rows(entries_of({"a": (0.3, 0.3, 0.3), "ours": ours, "b": (0.69, 0.70, 0.71)}))
    assert page.finding(made) == wanted


@pytest.mark.parametrize(
    ("waits", "told"),
    [
        ((90, 110, 130), " p95 of The b is lower in each round: 90 to 130 ms, and ours 140 to 140; it takes 7 lines,"),
        ((150, 160, 170), " p95 of The b is higher in each round: 150 to 170 ms, and ours 140 to 140; it takes"),
        ((130, 140, 150), "with its own."),
    ],
)
def test_of_who_is_as_fast_the_waits_are_told(waits: tuple[int, ...], told: str) -> None:
    near = [entry_of("b", at, 0.7, p95_ms=wait) for at, wait in enumerate(waits, 1)]
    found = page.finding(page.rows([*entries_of({"ours": (0.69, 0.71, 0.72)}), *near]))
    assert told in found and ("p95" in found) is (told != "with its own.")


def test_a_peer_is_called_as_peers_toml_calls_it_today() -> None:
    (made,) = page.rows([entry_of("limit", 1, 0.8)])
    assert made.title == PEERS["limit"].title and made.lines == 7


def test_rounds_that_were_measured_again_are_told() -> None:
    times = ["10:00", "10:05", "10:02", "10:04", "10:06"]  # the second one was put away, and so were later ones
    seen = [{"at": at} for at in times]
    assert page.repeated({"entries": seen}) == (2, False)
    assert page.repeated({"entries": [{"at": at} for at in sorted(times)]}) == (0, False)
    twice = [{"name": "a", "round": 1}, {"name": "a", "round": 1}, {"name": "b", "round": 1}]
    assert page.repeated({"entries": seen, "refused": twice}) == (2, True)


def test_one_round_is_called_one() -> None:
    told = page.finding(page.rows(entries_of({"ours": (0.8,), "b": (0.7,)})))
    assert "in the one round that was measured" in told and "each round" not in told


def test_a_page_of_a_busy_machine_says_so_before_its_figures() -> None:
    seen = [entry_of("a", 1, 0.3, others=0.05), entry_of("b", 1, 0.4, others=0.6)]
    assert page.disturbed(seen) == ["**Other programs used the machine in 1 of 2 rounds: measure again.**"]
    assert page.disturbed(seen[:1]) == []


def test_the_page_is_made_of_the_run_file_alone(tmp_path: Path) -> None:
    run = tmp_path / "run"
    plan = Plan("peers", ("ours", "a"), facts={"absent": {"The c": "no wheel for this Python"}})
    run.mkdir()
    (run / "plan.json").write_text(json.dumps(plan.told()))
    seen = [
        *entries_of({"ours": (0.5, 0.6, 0.7), "a": (0.3, 0.4)}),
        entry_of("a", 3, 0, problem="it ended\nwith a log"),
    ]
    for place, entry in enumerate(seen):
        (run / f"{place:03}-x.json").write_text(json.dumps({"at": "2026-11-26T12:00:00+00:00", **entry}))
    file = runs.keep(run, tmp_path)
    text = page.to_page(file)
    assert (
        "| **this kit's service** | 0.60 | 480 (400 to 560 in 3 rounds) | 90 | 140 | 6 of 3000 | 900 | 2 | 7 | 6.5 |"
        in text
    )
    assert "- The c: no wheel for this Python" in text and "- The a, round 3: it ended" in text
    assert "its answers to 120 held-out" in text.replace("\n", " ").replace("a peer's answers", "its answers")
    assert text.index("| The a | x 1 |") > text.index("| this kit's service | x 1 |")
    assert page.to_png(file).startswith(b"\x89PNG")
    file.write_text(file.read_text().replace("480", "580"))
    with pytest.raises(runs.BrokenSeal):
        page.to_page(file)


def test_the_kept_page_is_what_its_run_file_says() -> None:
    file, kept = runs.path_of("peers"), ROOT / page.PAGE
    assert file.exists() == kept.exists(), f"{file.name} and {page.PAGE} come together"
    assert not kept.exists() or kept.read_text() == page.to_page(file)
