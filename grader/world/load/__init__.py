"""Load on a server of this machine, and experiments with it that cannot fool you.

    from grader.world.load import closed, poisson, experiment, runs, table

    log = closed.run(url, users=80, seconds=15)         # Locust: each user asks, waits for the answer, asks again
    log = poisson.run(url, rate=120, seconds=15)        # open loop: requests leave at their times, whoever still waits
    summarise(log)                                      # summary.Summary: goodput, 503s, p50, p95, p99, in flight
    experiment.run(Path("bench/experiment.toml"), Path("bench"))   # measures every setting, writes runs/ and table.csv

One noun a module, each short enough to read:
    texts      text(number): a ticket that no other number gives; nobody's cache has seen it
    target     check(url): only 127.0.0.1, and never through `kubectl port-forward`; raises LabError
    log        Log: one line a request; Log.load(path), Log.save(path), log.between(begin, end), log.ends()
    closed     run(url, users=80, seconds=15, first=0, repeat=0) -> Log    (a process of its own: Locust, FastHttpUser)
    poisson    run(url, rate, seconds=15, first=0, repeat=0, seed=0) -> Log (a process of its own: asyncio, aiohttp)
    summary    summarise(log) -> Summary; naive(log) and corrected(log): seconds waited from `sent`, from `scheduled`
    metrics    read(url) -> [(name, labels, value)]; InFlight(url): samples the gauges each 100 ms; mean_batch(...)
    settings   Setting(name, batching, max_batch_size, max_latency_ms); setting.configuration(base): BentoML's
    servers    serving(setting, base, service, store): a server with that setting; .url, .served, .witnesses()
    copies     find(...), rolled_out(...): the same in the cluster: a pod with that setting, a copy of lab 05's
    warmup     end(log, trained) -> seconds until the load was steady (MSER), or None: it never was
    measure    measure(server, load, repeat, order, folder) -> Run: makes one run folder
    experiment read(file) -> Experiment; run(file, bench, say=print) -> rows; goes on where it stopped
    runs       Run: one run folder; runs.read(folder), run.summary, run.problems() (why its numbers may not be used)
    table      rows(bench) -> one a setting; write(bench) makes table.csv of the run folders; nobody types it
    noise      of(runs): how far repeats of one and the same setting differ on this machine, this hour
    sequential judge(...): ends a trial as soon as it is clear whether the goal holds
    capacity   find(url, Goal(seconds=.5)) -> the highest Poisson rate that holds p95 <= goal
    cli        `./lab bench` | quick | cluster | capacity: python -m grader.world.load.cli

## Formats (seconds count from the start of the load; times of the day are ISO 8601, UTC)

bench/experiment.toml
    repeats = 3                     # of each setting, interleaved: each round has its own random order
    seed = 7                        # of that order, and of the texts
    base = "service/bentoml_configuration.yml"      # what a setting does not name comes from here
    servers = "kept"                # one server a setting for all its repeats; "fresh": one a run
    [load]
    users = 80                      # closed loop; `rate = 120` instead: open loop, requests a second
    seconds = 15
    [[setting]]
    name = "disabled"
    batching = false
    [[setting]]
    name = "32-10s"                 # letters, digits, dots, dashes
    max_batch_size = 32             # for both runners
    max_latency_ms = 10000
    where = "cluster"               # a copy of the service in the cluster (copies.py); without it: this machine

bench/runs/NAME-REPEAT/             # complete when run.json is there: it is written last
    run.json                        # setting, load, repeat, order, began, machine, witnesses, sender, cache
    configuration.yml               # the file that BENTOML_CONFIG named
    requests.csv                    # user, scheduled, sent, ended, end: "200", another status, "timeout", ...
    inflight.csv                    # at, took, api, embeddingrunner, classifierrunner, spent: requests inside, from
                                    # /metrics; seconds that a look at /livez took, and that all requests spent inside
    dispatchers.csv                 # at, runner, method, trained, a, b, wait, queued: what each dispatcher learnt
    before.prom, after.prom         # /metrics

bench/table.csv: one row a setting, in order of its name; a value is the median of its repeats
    setting, where, batching, max_batch_size, max_latency_ms, users, rate, seconds, repeats,
    goodput, goodput_min, goodput_max          # answers with 200, a second
    p50_ms, p95_ms, p99_ms                     # of the 200s, from the scheduled time
    share_503, share_504, share_other          # of all ends, 0 to 1
    mean_ms, in_flight, little                 # mean wait of all ends; mean of the gauge; how far from rate x wait
    mean_batch, sender_cpu, others_cpu         # requests a batch; cores that the sender used, and other programs
    warmup_s, noise                            # seconds left out; largest of the repeats over the smallest, less 1
    verdict, why                               # "ok", or "refused" and the first reason
    cpus, memory_gib, cpu, bentoml, machine    # where it was measured; `machine` tells two machines apart

bench/note.toml: the learner's
    why = "prose, for people"
    [chosen]
    setting = "32-10s"
    goodput = 241.0
    p95_ms = 402.0
    share_503 = 0.0
    [runner_up]                     # the same four keys
bench/chosen.yml: the learner's: a configuration of BentoML with the chosen setting
"""
