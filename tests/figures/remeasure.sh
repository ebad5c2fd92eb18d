#!/usr/bin/env bash
# Measures what docs/numbers.toml still lists as lost: `bash tests/figures/remeasure.sh OUT` (11 minutes, Docker and a walk's image),
# `bash tests/figures/remeasure.sh OUT cluster` (14 minutes, lab 05 in the cluster). A quiet machine, nothing beside it. Then
# `.venv/bin/python tests/figures/keep_again.py OUT`. One that fails leaves OUT/NAME.part and .err, and the others go on.
cd "$(dirname "$0")/../.." || exit 1
out=$(realpath -m "$1") py=$PWD/.venv/bin/python
mkdir -p "$out"
one() { # NAME LIMIT COMMAND...: its table, moved into place when it ended well
    local name=$1 limit=$2
    shift 2
    if timeout -s INT -k 40 "$limit" "$@" >"$out/$name.part" 2>"$out/$name.err"; then mv "$out/$name.part" "$out/$name.txt"; fi
    printf '[%4ds] %s: %s\n' "$SECONDS" "$name" "$([ -f "$out/$name.txt" ] && echo done || echo failed)"
}
if [ "${2:-}" = cluster ]; then
    one releases 420 ./lab test -s -m turn tests/test_release_live.py -k decided
    one faults 600 ./lab test -s -m fault tests/test_faults.py
    exit
fi
image=$(awk '/newName:/ {n=$2} /digest:/ {d=$2} END {print n "@" d}' .lab/walk/deploy/kustomization.yaml)
one xray 150 "$py" tests/look_into_batches.py
one clone 240 "$py" tests/measure.py
cd service || exit 1
one threads 180 "$py" experiments/threads.py
one runnables 240 "$py" experiments/runnable_vs_picklable.py
one burst 420 "$py" experiments/burst.py ../tests/module_service/service:svc service:svc service_per_text:svc
one room 200 "$py" experiments/room.py "$image"
