"""How close a service comes to the limit: raw `encode` in as many processes as there are cores, on the same machine, in
the same minutes. `./lab bench ladder`, `growth` and `peers` measure with this.

    contestant  Contestant: who is measured: how it is started, asked and checked
    asker       the closed loop at the least cost: one process, asyncio's own sockets, requests as bytes
    yardstick   Yardstick: raw texts a second of this machine, now
    watch       cores and memory of each process of a server, and how busy the machine was
    rounds      measure(contestant, load): one round of one contestant -> an entry
    interleave  run(plan, contestants, folder): rounds in random order, raw between them; goes on where it stopped
    runs        keep(folder): one dated, sealed run file in docs/limit/runs/, of which pages and pictures are made
    store       both models, saved by the reference service; its own labels for 600 held-out texts
    steps       the ladder's contestants: the reference service, and what each step adds to it
    proofs      whether a step is applied in the running server: else it is not measured
    growth      the same service from 1 to 400 clients, in 1, 2 and 4 replicas, with texts of 8 to 256 tokens
    extras      packages that a step adds, in a folder of their own; onnx: the exported models
    senders     what this sender, Locust and wrk use of a core
    page        docs/limit.md and its pictures, made of the run files
    cli         the commands

An entry (one round of one contestant) is JSON, in the run folder and in the run file alike:
    name, round, at                 who, which round, when (ISO 8601, UTC)
    problem                         why there are no figures; "" where there are
    load                            clients, seconds, warm (seconds left out before), tokens (of each text; 0: tickets)
    goodput, rate                   answers with 200, all ends, a second
    ends, ends_warm                 {"200": 5600}: how requests ended; "closed", "timeout", "refused" without a status
    p50_ms, p95_ms, p99_ms, mean_ms of the 200s
    raw, r                          raw texts a second (mean of before and after), goodput / raw
    raw_before, raw_after           the two
    cores                           {"embeddingrunner": 1.5, ..., "sender": 0.05}: cores that processes of a role used
    busy, others                    share of the machine that worked; cores that neither server nor sender used
    processes                       [{"role", "rss_mb", "pss_mb"}]: memory at the end of the load
    rss_mb, pss_mb                  of all; PSS counts memory that n processes share as 1/n
    first_s                         seconds from the start to the first answer
    facts                           what the contestant says of itself (lines, files, texts a call, ...)
"""
