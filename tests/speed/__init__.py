"""The kit's own speed: `./lab bench kit`, for work on the kit. Beside each figure a yardstick of the same run, since
machines differ: a fresh process that imports torch and sentence-transformers, loads MiniLM and encodes 1,000 texts.

    measures   Measure: what is measured, and how; Place: the checkout and the walked workspace it is measured in
    rounds     measure_all(measures, places, rounds): each in random order, round by round, the yardstick between
    page       docs/kit.md, made of the run files in docs/kit/runs/
    cli        the command

A run file is JSON:
    made, ended, commit, machine    when (ISO 8601, UTC), of which commit of the kit, on what
    rounds, load                    how many; the machine's load average before the first
    yardstick                       [seconds, ...]: before each round, and after the last
    measures                        {name: {"seconds": [...]}}: one for each round
    not_measured                    {name: why}
    of                              {"commit", "measures", "not_measured"} of an earlier checkout in the same rounds
"""
