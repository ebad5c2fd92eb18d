"""The figures of a load: what they mean, what refuses them, and that they are computed from what was seen."""

from __future__ import annotations

import contextlib
import csv
import json
import math
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import bench_runs
import numpy as np
import pytest

from grader.errors import LabError
from grader.world.load import (
    capacity,
    closed,
    copies,
    experiment,
    measure,
    metrics,
    noise,
    poisson,
    runs,
    table,
    target,
    texts,
    warmup,
)
from grader.world.load.log import Log, Request, write_requests
from grader.world.load.metrics import RUNNERS
from grader.world.load.sequential import Goal, judge
from grader.world.load.settings import Setting
from grader.world.load.summary import corrected, naive, percentiles, summarise


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("right") / "bench"
    bench_runs.make_bench(folder)
    return folder


@pytest.fixture
def bench(right: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(right, tmp_path / "bench"))


LOCK = threading.Lock()


class Slow(BaseHTTPRequestHandler):
    """Answers in 20 ms, every tenth request with 503; /metrics as a server without batching."""

    protocol_version = "HTTP/1.1"
    count, pause = 0, 0.02
    answered: ClassVar[Counter[int]] = Counter()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.seen.append(json.loads(body)["texts"][0])  # type: ignore[attr-defined]
        time.sleep(Slow.pause)
        Slow.count += 1
        status = 503 if Slow.count % 10 == 0 else 200
        with LOCK:
            Slow.answered[status] += 1
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        lines = ['bentoml_api_server_request_in_progress{endpoint="/classify",service_name="s"} 4.0']
        name = "bentoml_api_server_request_total"
        answered = sorted(Slow.answered.items())
        lines += [f'{name}{{endpoint="/classify",http_response_code="{status}"}} {n}.0' for status, n in answered]
        body = "".join(f"{line}\n" for line in lines).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    class Patient(ThreadingHTTPServer):
        request_queue_size = 128  # so many may connect at once

    made = Patient(("127.0.0.1", 0), Slow)
    made.seen = []  # type: ignore[attr-defined]
    made.daemon_threads = True
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()


def url_of(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}"


def test_no_text_is_asked_twice_and_none_differs_by_digits_alone() -> None:
    made = [texts.text(number) for number in [*range(20_000), *range(10_000_000, 10_020_000)]]
    assert len(set(made)) == len(made)
    assert not any(re.search(r"\d", text) for text in made)


@pytest.mark.slow
def test_a_closed_loop_asks_with_new_texts_and_keeps_refusals_apart(server: ThreadingHTTPServer) -> None:
    log = closed.run(url_of(server), users=4, seconds=2)
    seen = summarise(log)
    assert log.ends().keys() == {"200", "503"}
    assert 0.05 < seen.share_503 < 0.15
    assert seen.goodput == pytest.approx(seen.rate * (1 - seen.share_503))
    assert seen.in_flight == pytest.approx(4, rel=0.1)
    assert len(set(server.seen)) == len(server.seen)  # type: ignore[attr-defined]


@pytest.mark.slow
def test_a_run_folder_holds_what_was_seen(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    setting = Setting("disabled", batching=False)
    config = "version: 1\n"
    witnesses = [{**bench_runs.witness(role, setting, config), "states": []} for role in RUNNERS]
    fake = SimpleNamespace(
        url=url_of(server),
        setting=setting,
        configuration=config,
        cpu_seconds=time.process_time,
        witnesses=lambda: witnesses,
    )
    made = measure.measure(fake, {"users": 4, "seconds": 5}, 1, 0, tmp_path / "disabled-1")
    assert made.in_flight == 4.0 and abs(made.little) < runs.LITTLE
    assert len(made.inside["at"]) > 30  # every 100 ms
    assert [p for p in made.problems() if p.kind != "machine"] == []
    assert made.facts["cache"]["again_ms"] == pytest.approx(made.facts["cache"]["fresh_ms"], rel=0.5)


@pytest.mark.slow
def test_wrk_measures_the_same(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    if shutil.which("wrk") is None:
        (pytest.fail if os.environ.get("LAB_STRICT") else pytest.skip)("not run: no wrk (apt-get install wrk)")
    script = tmp_path / "post.lua"
    script.write_text('wrk.method = "POST"; wrk.body = \'{"texts": ["a"]}\'')
    command = ["wrk", "-t1", "-c4", "-d3s", "-s", str(script), f"{url_of(server)}/classify"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", told)[1])  # type: ignore[index]
    seen = summarise(closed.run(url_of(server), users=4, seconds=3))
    assert seen.rate == pytest.approx(rate, rel=0.1)  # wrk counts the 503s as well
    assert seen.mean_ms == pytest.approx(4000 / rate, rel=0.1)


@pytest.mark.slow
def test_a_poisson_sender_asks_at_random_times_and_counts_from_them(server: ThreadingHTTPServer) -> None:
    log = poisson.run(url_of(server), rate=60, seconds=3)
    pauses = np.diff(sorted(log.column("scheduled")))
    assert len(log) == pytest.approx(180, abs=45)
    assert pauses.std() == pytest.approx(pauses.mean(), rel=0.35)  # exponential
    assert percentiles(corrected(log) - naive(log), 50)[0] < 20


@pytest.mark.slow
def test_a_stall_hides_in_the_naive_p99_and_shows_in_the_corrected_one(server: ThreadingHTTPServer) -> None:
    """A server that stands still for 1.4 s holds up eight requests of a sender with eight connections, and with them
    everybody who should have been sent meanwhile."""

    def stall() -> None:
        time.sleep(3.0)
        Slow.pause = 1.4
        time.sleep(0.1)
        Slow.pause = 0.02

    threading.Thread(target=stall, daemon=True).start()
    log = poisson.run(url_of(server), rate=150, seconds=10, connections=8)
    seen = summarise(log)
    assert seen.p99_ms > 700
    assert seen.naive_p99_ms < seen.p99_ms / 5


@pytest.mark.parametrize(
    "address", ["http://example.com:80", "http://127.0.0.1", "http://[::1]:3000", "http://localhost:1"]
)
def test_a_load_goes_nowhere_else(address: str) -> None:
    with pytest.raises(target.RefusedTarget):
        target.check(address)


def test_a_port_forward_is_refused() -> None:
    """Whatever listens and is called with `port-forward`, as kubectl is."""
    code = "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[2]))); print(flush=True); "
    code += "time.sleep(60)"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen([sys.executable, "-c", code, "port-forward", str(port)], stdout=subprocess.PIPE) as forward:
        try:
            assert forward.stdout and forward.stdout.readline()
            with pytest.raises(target.RefusedTarget, match="port-forward"):
                target.check(f"http://127.0.0.1:{port}")
        finally:
            forward.kill()


def test_little_s_law_holds_in_a_simulated_closed_loop(right: Path) -> None:
    for run in runs.read_all(right):
        assert abs(run.little) < 0.02
        assert run.by_clock == pytest.approx(run.in_flight, rel=0.05)
        assert run.summary.rate * run.summary.mean_ms / 1000 == pytest.approx(run.summary.in_flight, rel=0.05)


def test_the_seconds_spent_inside_are_read_without_health_checks() -> None:
    line = 'bentoml_api_server_request_duration_seconds_sum{endpoint="%s",http_response_code="%s"} %s'
    seen = [("/classify", 200, 1.5), ("/classify", 503, 0.25), ("/livez", 200, 9.0)]
    assert metrics.spent("\n".join(line % one for one in seen)) == 1.75


def test_right_runs_have_no_problem_and_make_the_table(right: Path) -> None:
    rows = table.rows(right)
    assert [row["setting"] for row in rows] == ["16-10s", "32-10s", "4-10s", "disabled"]
    assert {row["verdict"] for row in rows} == {"ok"}, rows
    written = list(csv.DictReader((right / "table.csv").read_text().splitlines()))
    assert [float(row["goodput"]) for row in written] == [row["goodput"] for row in rows]
    assert pytest.approx(rows[-1]["goodput"], rel=0.05) == 1 / (bench_runs.CALL + bench_runs.ITEM)


def changed(bench: Path, name: str, **facts: object) -> runs.Run:
    path = bench / "runs" / name / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))
    return runs.read(path.parent)


def first_problem(run: runs.Run) -> str:
    return next((p.text for p in run.problems()), "")


def test_a_setting_has_three_witnesses(bench: Path) -> None:
    other = Setting("32-10s", max_batch_size=16).facts()
    assert "in the process of" in first_problem(changed(bench, "32-10s-1", setting=other))
    off = Setting("4-10s", batching=False)
    config = (bench / "runs/4-10s-1/configuration.yml").read_text()
    seen = [bench_runs.witness(role, off, config) for role in ("embeddingrunner", "classifierrunner")]
    assert "should be off" in first_problem(changed(bench, "4-10s-1", setting=off.facts(), witnesses=seen))
    (bench / "runs" / "16-10s-1" / "configuration.yml").write_text("version: 1\n")
    assert "did not get this configuration" in first_problem(runs.read(bench / "runs" / "16-10s-1"))
    budget = Setting("32-10s", max_batch_size=32, max_latency_ms=20)
    config = (bench / "runs/32-10s-2/configuration.yml").read_text()
    seen = [bench_runs.witness(role, budget, config) for role in ("embeddingrunner", "classifierrunner")]
    assert "refused none" in first_problem(changed(bench, "32-10s-2", setting=budget.facts(), witnesses=seen))


def test_a_late_sender_and_a_cache_are_named(bench: Path) -> None:
    full = {"loop": "closed", "users": 80, "seconds": 15.0, "began": 0.0, "cpu": 0.97, "idle": 0.0}
    assert "filled its core" in first_problem(changed(bench, "4-10s-1", sender=full))
    assert "a cache" in first_problem(changed(bench, "4-10s-2", cache=bench_runs.cache(100, 12)))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_few_who_come_at_times_of_their_own_obey_the_law_but_for_chance(tmp_path: Path, seed: int) -> None:
    """Twenty a second for 50 ms each: one is inside on average, and a hundred looks see 0.9 or 1.1."""
    chance, folder = np.random.default_rng(seed), tmp_path / "off-1"
    bench_runs.make_run(folder, bench_runs.SETTINGS[0], 1, 0)
    due = np.cumsum(chance.exponential(1 / 20, 290))
    requests = [Request(0, at, at, at + 0.05, "200") for at in due.tolist()]
    write_requests(folder / "requests.csv", requests)
    looks = [f"{at},0.006,{bench_runs.inside(requests, at)},1,0,1" for at in np.arange(0.1, due[-1], 0.1).tolist()]
    (folder / "inflight.csv").write_text("\n".join(["at,took,api,embeddingrunner,classifierrunner,spent", *looks]))
    run = runs.read(folder)
    assert run.chance > 0.1 and not [p for p in run.problems() if "Little" in p.text]


def test_a_load_too_short_for_so_many_people_is_no_fault_of_the_machine(tmp_path: Path) -> None:
    for users, kind in ((80, "machine"), (600, "figures")):
        folder = tmp_path / str(users)
        bench_runs.make_run(folder, bench_runs.SETTINGS[0], 1, 0, users)
        (folder / "run.json").write_text(json.dumps({**json.loads((folder / "run.json").read_text()), "trained": 14.0}))
        assert kind in {p.kind for p in runs.read(folder).problems() if "steady" in p.text}, users


def test_concurrency_that_rises_is_found_by_its_slope() -> None:
    at = np.arange(0, 12, 0.1)
    chance = np.random.default_rng(1)
    assert warmup.rise(at, 80 + chance.normal(0, 3, len(at))) == 0
    assert warmup.rise(at, 20 + 3 * at + chance.normal(0, 3, len(at))) > 0.5


def test_the_warm_up_is_found() -> None:
    """Waits of 300 ms once 4 s are over, and longer ones before."""
    chance = np.random.default_rng(2)
    requests = []
    for ended in np.arange(0.5, 15, 0.01):
        wait = (0.3 if ended > 4 else 0.9 - 0.15 * ended) * chance.uniform(0.8, 1.2)
        requests.append(Request(0, ended - wait, ended - wait, float(ended), "200"))
    found = warmup.end(Log(requests, {"seconds": 15}))
    assert found is not None and 3.0 <= found <= 5.0
    late = warmup.end(Log(requests, {"seconds": 15}), trained=14.0)
    assert late is None


def test_repeats_that_differ_by_more_than_the_others_do_are_refused() -> None:
    groups = {"a": [100.0, 101, 99], "b": [50.0, 50.4, 49.8], "c": [80.0, 60, 81]}
    assert noise.disagree(groups, "c") and not noise.disagree(groups, "a")
    assert 0.005 < noise.of(groups, without="c") < 0.02
    assert not noise.disagree({"a": [10.0, 14], "b": [20.0, 21]}, "a", answers=12)  # so few differ by chance


def test_an_experiment_file_is_checked_in_words(tmp_path: Path) -> None:
    work = tmp_path / "work"
    (work / "service").mkdir(parents=True)
    (work / "service" / "bentoml_configuration.yml").write_text("version: 1\n")
    (work / "bench").mkdir()
    file = work / "bench" / "experiment.toml"
    for text, words in {
        "": "there is no setting",
        "[[setting]]\nname = 'a'\nenabled = false": "nothing called enabled; known: name, batching",
        "[setting.a]\nbatching = false": "[[setting]], in double brackets",
        "[[setting]]\nbatching = false": "no name",
        "[load]\nusers = 8\n[[setting]]\nname = 'A'": "small letters",
        "[load]\nusers = 8\n[[setting]]\nname = 'a'\nmax_batch_size = 1": "at least 2",
        "[load]\nusers = 8\nrate = 9\n[[setting]]\nname = 'a'": "`users` or `rate`",
        "turns = 2\n[load]\nusers = 8\n[[setting]]\nname = 'a'": "nothing is called turns",
    }.items():
        file.write_text(text)
        with pytest.raises(LabError, match=re.escape(words)):
            experiment.read(file)
    file.write_text("seed = 3\n[load]\nusers = 8\n[[setting]]\nname = 'a'\n[[setting]]\nname = 'b'\nbatching = false")
    plan = experiment.read(file).plan()
    assert len(plan) == 6 and {repeat for repeat, _ in plan[:2]} == {1}
    assert plan == experiment.read(file).plan()


def test_what_was_measured_is_not_measured_again(bench: Path) -> None:
    chosen = bench_runs.SETTINGS[3]
    asked = experiment.Experiment((chosen,), {"users": 80, "seconds": 15.0}, 3, 1, {}, bench, bench, True)
    assert not experiment.wanted(asked, bench, 1, chosen)
    (bench / "runs" / "32-10s-2" / "run.json").unlink()  # as a SIGKILL leaves it
    assert experiment.wanted(asked, bench, 2, chosen)
    changed(bench, "32-10s-3", load={"users": 40, "seconds": 15.0})
    assert experiment.wanted(asked, bench, 3, chosen)


def outcome(wait: float, until: float, rate: float = 50) -> tuple[list[float], list[Request]]:
    dues = list(np.arange(0, until, 1 / rate))
    return dues, [Request(0, due, due, due + wait, "200") for due in dues]


def test_a_trial_ends_when_it_is_clear() -> None:
    goal = Goal(0.5)
    assert judge(goal, *outcome(0.1, 5), now=5, last=False).holds is None  # too early
    assert judge(goal, *outcome(0.1, 15), now=15, last=False).holds is True
    assert judge(goal, *outcome(0.9, 15), now=15, last=False).holds is False
    dues, ended = outcome(0.1, 15)
    failed = [r._replace(end="500") if i % 100 == 0 else r for i, r in enumerate(ended)]
    assert judge(goal, dues, failed, now=15, last=False).holds is False
    assert judge(goal, dues, ended[:300], now=15, last=False).holds is False  # what never came is late


def idle_server() -> Any:
    return SimpleNamespace(url="http://127.0.0.1:1", cpu_seconds=lambda: 0.0)


@pytest.mark.parametrize("true_capacity", [3.0, 55.0, 173.0, 900.0])
def test_the_capacity_is_found_by_doubling_bisection_and_stairs(
    monkeypatch: pytest.MonkeyPatch, true_capacity: float
) -> None:
    def try_rate(url: str, rate: float, seconds: float, first: int, goal: Goal) -> Log:
        return Log([], {"holds": rate <= true_capacity, "late": 0.0, "errors": 0.0, "cpu": 0.1})

    monkeypatch.setattr(poisson, "try_rate", try_rate)
    found = capacity.find(idle_server, Goal())
    assert found.rate == pytest.approx(true_capacity, rel=0.04)
    assert len(found.trials) <= 8 + capacity.STAIRS
    assert "trials were at" in found.told()


def test_chance_in_a_trial_does_not_decide_the_capacity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where trials within 10% of the capacity go either way, most searches still end within 5% of it."""
    chance = random.Random(3)

    def try_rate(url: str, rate: float, seconds: float, first: int, goal: Goal) -> Log:
        return Log([], {"holds": rate <= 173 * math.exp(chance.gauss(0, 0.06)), "late": 0.0, "errors": 0.0, "cpu": 0.1})

    monkeypatch.setattr(poisson, "try_rate", try_rate)
    found = [capacity.find(idle_server, Goal()).rate for _ in range(200)]
    assert sum(abs(rate / 173 - 1) < 0.05 for rate in found) > 170


def test_that_a_rate_holds_is_said_later_than_that_it_does_not() -> None:
    goal = Goal(0.5)
    assert judge(goal, *outcome(0.9, 10.5), now=10.5, last=False).holds is False
    assert judge(goal, *outcome(0.1, 10.5), now=10.5, last=False).holds is None


def test_a_cache_has_to_be_clear() -> None:
    """Seen without a cache on a busy machine: 15% by chance."""
    assert not runs.is_cached([[248, 210], [190, 205], [260, 180], [200, 199], [251, 190], [230, 215]])
    assert runs.is_cached([[248, 180], [240, 170], [260, 190], [251, 180]])


def spoil(bench: Path, name: str, shares: tuple[float, ...]) -> None:
    """Repeats of that setting in which a share of the answers never came."""
    for repeat, share in enumerate(shares, 1):
        path = bench / "runs" / f"{name}-{repeat}" / "requests.csv"
        lines = path.read_text().splitlines()
        path.write_text("\n".join([lines[0], *lines[1 : max(2, int(len(lines) * share))]]) + "\n")


def test_a_spoilt_setting_is_measured_again_and_a_busy_machine_is_not(bench: Path) -> None:
    asked = experiment.Experiment(bench_runs.SETTINGS, {"users": 80, "seconds": 15.0}, 3, 1, {}, bench, bench, True)
    assert experiment.refuse(asked, bench) == []
    spoil(bench, "32-10s", (1.0, 0.6, 1.0))
    assert experiment.refuse(asked, bench) == ["32-10s-1", "32-10s-2", "32-10s-3"]
    assert sorted(p.name for p in (bench / "refused").iterdir()) == ["32-10s-1", "32-10s-2", "32-10s-3"]
    assert experiment.wanted(asked, bench, 1, bench_runs.SETTINGS[3])
    for name in ("disabled", "4-10s", "16-10s"):
        spoil(bench, name, (1.0, 0.55, 0.8))
    assert {row["verdict"] for row in table.rows(bench)} == {"refused"}
    assert experiment.refuse(asked, bench) == []


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="not run: processes are told apart as in a pod, by /proc")
def test_what_a_container_wrote_before_its_restart_is_no_witness(tmp_path: Path) -> None:
    """The number of a runner that is gone may be the API server's now, whose command names each runner as well."""
    api = ["http_api_server", "--runner-map", '{"classifierrunner": "unix:///tmp/a"}']
    commands = {"api": api, "classifierrunner": ["--runner-name", "classifierrunner", "--fd", "3"]}
    wait = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Page))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.shutdown)
        pids = {}
        for role, words in commands.items():
            pids[role] = stack.enter_context(subprocess.Popen([*wait, *words], stdin=subprocess.PIPE)).pid
        for role, pid in [*pids.items(), ("classifierrunner", pids["api"]), ("api", pids["classifierrunner"])]:
            (tmp_path / f"{role}-{pid}.jsonl").write_text(f"{role} {pid}\n")
        words = [sys.executable, "-c", copies.INSIDE, str(tmp_path), str(server.server_port)]
        told = subprocess.run(words, capture_output=True, text=True)
    assert json.loads(told.stdout)["files"] == [f"{role} {pids[role]}\n" for role in sorted(pids)]


def test_a_load_that_was_long_enough_and_not_steady_is_the_machines(bench: Path) -> None:
    late = changed(bench, "32-10s-1", trained=15.0)
    assert [p.kind for p in late.problems()] == ["machine"]
    load = {**late.load, "seconds": 5}
    assert "figures" in [p.kind for p in changed(bench, "32-10s-1", trained=15.0, load=load).problems()]
