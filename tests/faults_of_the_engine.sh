#!/usr/bin/env bash
# By hand only, and by somebody who has the machine for himself: this kills Docker's engine with SIGKILL, twice, and with
# it every container on the machine is stopped or started again. pytest and CI never run it.
#
#   tests/faults_of_the_engine.sh --yes [--start 'sudo systemctl start docker'] [control-plane] [up] [push]
#
# control-plane  the control plane's container is killed; touches nothing but the cluster of LAB_SLOT
# up             the engine is killed while `./lab cluster up` makes the cluster
# push           the engine is killed while an image goes to the registry
# (none named: all three.) After each, one `./lab cluster up` has to mend it. The cluster of LAB_SLOT (default here: 9) is
# removed at the end. --start: the command that starts the engine again.
set -uo pipefail
cd "$(dirname "$0")/.."
export LAB_SLOT=${LAB_SLOT:-9}
slot=$([ "$LAB_SLOT" = 0 ] || echo "-$LAB_SLOT")
cluster=serving-lab$slot registry=127.0.0.1:${LAB_REGISTRY_PORT:-$((5001 + 10 * LAB_SLOT))}
image=$registry/engine-fault:large
start='sudo systemctl start docker' yes='' failed=0 parts=()
scratch=$(mktemp -d)

while [ $# -gt 0 ]; do
    case $1 in
        --yes) yes=1 ;;
        --start) start=${2:?--start needs a command} && shift ;;
        control-plane | up | push) parts+=("$1") ;;
        *) sed -n '2,12s/^# \{0,1\}//p' "$0" && exit 64 ;;
    esac
    shift
done
[ ${#parts[@]} -gt 0 ] || parts=(control-plane up push)
[ -n "$yes" ] || { sed -n '2,12s/^# \{0,1\}//p' "$0" && echo "Nothing was done: say --yes." && exit 64; }

say() { printf '[%4ds] %s\n' "$SECONDS" "$*"; }
check() { # what, command...: says whether the command ends well
    local what=$1
    shift
    if "$@" >"$scratch/check" 2>&1; then say "ok: $what"; else
        say "FAILED: $what"
        tail -n 15 "$scratch/check"
        failed=1
    fi
}
not() { ! "$@"; }
uid() { kubectl --kubeconfig ".lab/kubeconfig$slot" get namespace kube-system -o 'jsonpath={.metadata.uid}'; }
same_uid() { [ "$(uid)" = "$1" ]; }
until_true() { # seconds, command...
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.5
    done
}
clean_up() {
    docker image rm --force "$image" >/dev/null 2>&1
    ./lab cluster down >/dev/null 2>&1
    rm -rf "$scratch"
}

kill_engine() { # the engine itself, by the number that it has written down; its containerd and its containers live on
    local pid
    pid=$(cat /var/run/docker.pid 2>/dev/null)
    [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm")" = dockerd ] || { say "no dockerd to kill"; exit 2; }
    say "killing dockerd, process $pid"
    if [ "$(id -u)" = 0 ]; then kill -KILL "$pid"; else sudo kill -KILL "$pid"; fi
}

start_engine() {
    sleep 2
    rm -f /var/run/docker.pid 2>/dev/null # a killed engine leaves it; where we may not, the start command sees to it
    sh -c "$start" >"$scratch/start" 2>&1 || { say "the engine does not start"; cat "$scratch/start"; exit 2; }
    check "the engine answers again" until_true 60 docker version
}

mended() { # after $1
    check "after $1, ./lab cluster up mends it" ./lab cluster up
    check "and the cluster is well" ./lab cluster status
}

part_control_plane() {
    check "a cluster to begin with" ./lab cluster up
    local before
    before=$(uid)
    docker kill "$cluster-control-plane" >/dev/null
    check "without its control plane, status says so" not ./lab cluster status
    mended "the end of the control plane"
    check "and nothing was lost: it is the same cluster" same_uid "$before"
}

part_up() {
    ./lab cluster down >/dev/null 2>&1
    ./lab cluster up >"$scratch/up" 2>&1 &
    local making=$! code
    check "an up in the making" until_true 120 grep -q 'Starting control-plane' "$scratch/up"
    sleep 3
    kill_engine
    wait $making
    code=$?
    check "that up ended with 2 (it was $code), and gave a reason" test $code -eq 2
    tail -n 3 "$scratch/up"
    check "without an engine: not run, exit code 2" sh -c './lab cluster up 2>&1 | grep "^not run: no container engine"'
    start_engine
    mended "an engine killed during up"
}

part_push() {
    check "a cluster to begin with" ./lab cluster up
    mkdir -p "$scratch/context"
    head -c 600000000 /dev/urandom >"$scratch/context/blob"
    printf 'FROM registry:3\nCOPY blob /blob\n' >"$scratch/context/Dockerfile"
    check "an image of 600 MB" docker build --quiet --tag "$image" "$scratch/context"
    docker push "$image" >"$scratch/push" 2>&1 &
    local pushing=$!
    sleep 2
    kill_engine
    wait $pushing
    check "that push ended with an error" test $? -ne 0
    start_engine
    mended "an engine killed during a push"
    check "the same push again" docker push --quiet "$image"
    check "a node pulls the image, whole" docker exec "$cluster-worker" crictl pull "$image"
}

trap clean_up EXIT
for part in "${parts[@]}"; do
    say "== $part"
    "part_${part//-/_}"
done
[ $failed = 0 ] && say "all of it was mended"
exit $failed
