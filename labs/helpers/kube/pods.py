"""What a pod of the service says of itself, asked in its container: requests, configuration, processes, health."""

from __future__ import annotations

from labs.helpers.kube.objects import kubectl, pods


def run_in(pod: str, code: str) -> str:
    """What a line of Python prints that runs in that pod's container, with the server's own environment."""
    return kubectl("exec", pod, "--", "python", "-W", "ignore", "-c", code)


def requests_of(pod: str) -> int:
    """How many requests to /classify that pod's API server has counted."""
    text = run_in(pod, "import urllib.request as u; print(u.urlopen('http://127.0.0.1:3000/metrics').read().decode())")
    lines = [x for x in text.splitlines() if x.startswith("bentoml_api_server_request_total") and '"/classify"' in x]
    return int(sum(float(line.rsplit(" ", 1)[1]) for line in lines))


def requests_by_pod() -> dict[str, int]:
    return {p["metadata"]["name"]: requests_of(p["metadata"]["name"]) for p in pods()}


def difference(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """How many more each pod has counted, by the end of its name."""
    return {name[-5:]: count - before.get(name, 0) for name, count in after.items()}


CONFIGURED = """
import hashlib, os, re, urllib.request
from pathlib import Path
env = dict(v.split('=', 1) for v in Path('/proc/1/environ').read_text().split('\\0') if '=' in v)
file = env.get('BENTOML_CONFIG', '')
print('the file', file or '(none)', hashlib.sha256(Path(file).read_bytes()).hexdigest()[:12] if file else '')
from bentoml._internal.configuration.containers import BentoMLContainer
runners = BentoMLContainer.runners_config.get()
batching = runners.get('embeddingrunner', runners)['batching']
print('the effective value: max_batch_size', batching['max_batch_size'])
text = urllib.request.urlopen('http://127.0.0.1:3000/metrics').read().decode()
edges = re.findall(r'adaptive_batch_size_bucket.le="([0-9.]+)".*embeddingrunner', text)
print('the behaviour: the largest batch that the histogram expects is', max(map(float, edges), default='unknown'))
"""


def configured(pod: str) -> str:
    """Which configuration a pod has, in three ways: the file that its process was given, the value that BentoML makes
    of it, and what the running server does."""
    return run_in(pod, CONFIGURED)


def processes(pod: str) -> list[str]:
    """BentoML's processes in a pod, by their part, with memory."""
    code = (
        "import os; from pathlib import Path\n"
        "for p in sorted(Path('/proc').glob('[0-9]*'), key=lambda p: int(p.name)):\n"
        "    try: c = (p / 'cmdline').read_text().replace('\\0', ' '); m = (p / 'status').read_text()\n"
        "    except OSError: continue\n"
        "    kb = next((int(x.split()[1]) for x in m.splitlines() if x.startswith('VmRSS')), 0)\n"
        "    part = 'API server' if 'http_api_server' in c else ('supervisor' if 'bentoml serve' in c else '')\n"
        "    part = c.split('--runner-name ')[1].split()[0] if '--runner-name' in c else part\n"
        "    if part and int(p.name) != os.getpid(): print(f'{part:<18}process {p.name:<4} {kb / 1000:.0f} MB')\n"
    )
    return run_in(pod, code).splitlines()


FROZEN = """
import os, signal, time, urllib.error, urllib.request
from pathlib import Path

def ask(path):
    began = time.time()
    try:
        said = urllib.request.urlopen(f"http://127.0.0.1:3000{path}", timeout=90).status
    except urllib.error.HTTPError as refused:
        said = refused.code
    return f"{path} {said} after {time.time() - began:.1f} s"

lines = {int(p.name): (p / "cmdline").read_text() for p in Path("/proc").glob("[0-9]*") if p.name != str(os.getpid())}
(embedder,) = [pid for pid, line in lines.items() if "--runner-name\\0embeddingrunner" in line]
while "200" not in ask("/readyz"):  # its models may still be loading
    time.sleep(1)
print("it runs:     ", ask("/readyz"), "|", ask("/livez"), flush=True)
os.kill(embedder, signal.SIGSTOP)
try:
    print("it is frozen:", ask("/readyz"), "|", ask("/livez"), flush=True)
finally:
    os.kill(embedder, signal.SIGCONT)
print("it goes on:  ", ask("/readyz"), "|", ask("/livez"), flush=True)
"""


def freeze(pod: str) -> str:
    """What the two health endpoints say while that pod's embedder is stopped by a signal; it runs again afterwards."""
    return run_in(pod, FROZEN)


KILLED = """
import os, signal
from pathlib import Path

lines = {int(p.name): (p / "cmdline").read_text() for p in Path("/proc").glob("[0-9]*") if p.name != str(os.getpid())}
for pid in [pid for pid, line in lines.items() if "--runner-name\\0embeddingrunner" in line]:
    os.kill(pid, signal.SIGKILL)
"""


def kill_embedder(pod: str) -> None:
    """Kills the embedding runner's process in that pod, as the kernel does when memory runs out."""
    run_in(pod, KILLED)


MEMORY = """
from pathlib import Path
new, old = Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/memory")
v2 = (new / "memory.current").exists()
used = int((new / "memory.current" if v2 else old / "memory.usage_in_bytes").read_text())
stat = dict(line.split() for line in ((new if v2 else old) / "memory.stat").read_text().splitlines())
print((used - int(stat["inactive_file" if v2 else "total_inactive_file"])) / 2**20)
"""


def memory(pod: str) -> float:
    """The MiB that the kernel counts for that pod's container, as the kubelet reads them (working set): each page once,
    files that could be dropped left out."""
    return float(run_in(pod, MEMORY))
