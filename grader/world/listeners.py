"""Which process listens on a port, told from inside its container: the right words may start another program's sources.

told = json.loads(what `python -c "{LOOK}; print(json.dumps(look(3000)))"` prints in the container)
strange(told)  # "" if BentoML's API server listens there, with the Bento of the image and nothing before it
"""

from __future__ import annotations

from grader.model import Facts

BENTO = "/home/bentoml/bento"
SERVER, RUNNER = "bentoml_cli.worker.http_api_server", "bentoml_cli.worker.runner"
START = "bentoml_cli._internal.start"  # starts either of them alone, and holds the socket as well
# `server`: whether BentoML's API server (or that worker) holds the listening socket; `others`: programs that are none
# of BentoML's and hold it; `folders`: where the server took its service from; `steered`: what puts other code before
# the image's, a variable or the folder that it is started in; `loopback`: whether nobody from outside gets there.
LOOK = (
    """
import os, pathlib
def words(pid, what):
    return pathlib.Path(f"/proc/{pid}/{what}").read_bytes().decode(errors="replace").split("\\0")
def sockets(port):
    files = [f for f in ("/proc/net/tcp", "/proc/net/tcp6") if os.path.exists(f)]
    rows = [line.split() for f in files for line in open(f).readlines()[1:]]
    doors = [(f"socket:[{r[9]}]", *r[1].rsplit(":", 1)) for r in rows if r[3] == "0A"]
    return {socket: address for socket, address, number in doors if int(number, 16) == port}
def holds(pid, wanted):
    for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            if os.readlink(fd) in wanted:
                return True
        except OSError:
            pass
    return False
def mount_of(folder):
    return folder if os.path.ismount(folder) else mount_of(os.path.dirname(folder))
def look(port, worker="SERVER"):
    home = os.path.realpath("BENTO") + "/"
    wanted, told = sockets(port), {"server": False, "others": set(), "folders": set(), "steered": set()}
    told["loopback"] = bool(wanted) and set(wanted.values()) <= {"0100007F", "0" * 24 + "01000000"}
    for pid in [p for p in os.listdir("/proc") if p.isdigit() and int(p) != os.getpid()]:
        try:
            if not holds(pid, wanted):
                continue
            line, cwd = words(pid, "cmdline"), os.readlink(f"/proc/{pid}/cwd")
            env = dict(v.split("=", 1) for v in words(pid, "environ") if "=" in v)
        except OSError:
            continue
        flags = line[1:2] != ["-"] and set("".join(line[1:2])) <= set("-bBdEIOqsSuvP")
        at = 2 if flags else 1  # a script may be given any words, -m too
        name = line[at + 1] if line[at : at + 1] == ["-m"] else " ".join(os.path.basename(w) for w in line[:2])
        if not name.startswith(("bentoml_cli.worker.", "START")) and "bentoml" not in name.split(" "):
            told["others"].add(name)
        if name == "START" and mount_of(cwd) != "/":  # a module finds others first where it is started
            told["steered"].add(f"its folder {cwd}")
        if name == worker:
            told["server"] = True
            given = [line[line.index("-m") + 2]] + [line[i + 1] for i, w in enumerate(line) if w == "--working-dir"]
            given = [os.path.realpath(os.path.join(cwd, g)) for g in given]
            told["folders"] |= {g for g in given if os.path.isdir(g)}
        for key in ("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "LD_PRELOAD"):
            paths = [v for v in env.get(key, "").split(":") if v]
            told["steered"] |= {f"{key}={v}" for v in paths if not (os.path.realpath(v) + "/").startswith(home)}
    return {k: sorted(v) if isinstance(v, set) else v for k, v in told.items()}
""".replace("SERVER", SERVER)
    .replace("START", START)
    .replace("BENTO", BENTO)
)


def strange(told: Facts) -> str:
    """What is not as it should be; the image's own start leaves nothing to say."""
    if not told.get("server") or told["others"]:
        return f"not BentoML's server listens, but {', '.join(told.get('others', [])) or 'nothing that can be seen'}"
    elsewhere = [f for f in told["folders"] if f != BENTO and not f.startswith(f"{BENTO}/")]
    if elsewhere or not told["folders"]:
        return f"it serves what is in {', '.join(elsewhere) or 'no folder'}, not the Bento"
    if told["loopback"]:
        return "it listens on its own loopback address alone"
    return f"other code comes before the Bento's: {', '.join(told['steered'])}" if told["steered"] else ""
