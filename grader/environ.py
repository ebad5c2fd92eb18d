"""Makes the environment of every child: installer, kernels, notebooks, probes, servers, tools.

An allow-list: what is not named here stays out, so that a verdict does not depend on whose shell it was. Kept out are
every PYTHON* (other modules, another interpreter's habits), PIP_USER, JUPYTER_PATH (other kernels), BENTOML_CONFIG,
KIND_*, and whatever tokens a person's shell has.
"""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

KEPT = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|TZ|LANG|LANGUAGE|LC_\w+|TERM|COLORTERM|COLUMNS|LINES|NO_COLOR|FORCE_COLOR|CI"
    r"|TMPDIR|TMP|TEMP|XDG_\w+|LD_LIBRARY_PATH|WSL\w*"
    r"|DISPLAY|WAYLAND_DISPLAY|XAUTHORITY|BROWSER|DBUS_SESSION_BUS_ADDRESS|SSH_AUTH_SOCK"  # a browser; DOCKER_HOST=ssh:
    r"|(?:https?|all|no)_proxy|SSL_CERT_(?:FILE|DIR)|(?:REQUESTS|CURL)_CA_BUNDLE|NODE_EXTRA_CA_CERTS"
    r"|PIP_(?:INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|NO_INDEX|TRUSTED_HOST|CERT|CLIENT_CERT|CACHE_DIR|PROXY|RETRIES|TIMEOUT"
    r"|DEFAULT_TIMEOUT)"
    r"|UV_(?:(?:DEFAULT_|EXTRA_)?INDEX(?:_URL)?|FIND_LINKS|CACHE_DIR|NATIVE_TLS|INSECURE_HOST|HTTP_\w+|OFFLINE)"
    r"|DOCKER_\w+|CONTAINER_HOST|BUILDX_\w+|BUILDKIT_\w+"
    r"|OMP_\w+|CUDA_\w+|NVIDIA_\w+"
    r"|LAB_\w+|SERVING_LAB_\w+|BENTOML_PORT",
    re.I,
)
# Of those, what the code of a submission gets; a person's own paths, sockets and mirrors are none of its business.
SUBJECTS = re.compile(
    r"PATH|HOME|USER|SHELL|TZ|LANG|LANGUAGE|LC_\w+|TMPDIR|TMP|TEMP|LD_LIBRARY_PATH|OMP_\w+|CUDA_\w+", re.I
)
LOOPBACK = ("127.0.0.1", "localhost", "::1")
LONG_TMPDIR = 60
PROXIES = ("http_proxy", "https_proxy", "all_proxy")


def child_environ(source: Mapping[str, str] | None = None, spared: tuple[str, ...] = ()) -> dict[str, str]:
    """What a child of ours gets of `source` (ours, without one). kubectl reads no kuberc; setproctitle, which BentoML's
    parts use where it is installed, leaves our mark alone; a proxy, where one is set, is never asked for this machine,
    nor for the hosts in `spared`."""
    kept = listed(os.environ if source is None else source)
    # A socket's path holds some 100 characters, and BentoML builds nothing below a hidden folder.
    kept = {k: v for k, v in kept.items() if k != "TMPDIR" or (len(v) < LONG_TMPDIR and "/." not in v)}
    return {**kept, "KUBERC": "off", "SPT_NOENV": "1", **spare(kept, (*LOOPBACK, *spared))}


def listed(source: Mapping[str, str]) -> dict[str, str]:
    """What is on the list, as it is: for doctor, who is to find what is wrong with it."""
    kept = {name: value for name, value in source.items() if KEPT.fullmatch(name)}
    return {**kept, "PATH": absolute_path(kept.get("PATH", os.defpath))}


def subject_environ(source: Mapping[str, str] | None = None) -> dict[str, str]:
    """What the code of a submission gets, wherever it runs: our Python first, and little besides."""
    kept = {name: value for name, value in child_environ(source).items() if SUBJECTS.fullmatch(name)}
    return {**kept, "PATH": put_first(kept["PATH"], Path(sys.executable).parent)}


def put_first(path: str, *folders: Path) -> str:
    """That PATH with these folders in front, each once."""
    ours = [str(folder) for folder in folders]
    return os.pathsep.join([*ours, *(f for f in path.split(os.pathsep) if f not in ours)])


def absolute_path(path: str) -> str:
    """Without what a working folder could put there: an empty part, `.`, `bin`."""
    return os.pathsep.join(part for part in path.split(os.pathsep) if Path(part).is_absolute())


def spare(environ: Mapping[str, str], hosts: tuple[str, ...]) -> dict[str, str]:
    """NO_PROXY, in both spellings, with those hosts; nothing where no proxy is set: on macOS it would switch off the
    system's own settings."""
    lower = {name.lower(): value for name, value in environ.items() if value}
    if not lower.keys() & set(PROXIES):
        return {}
    there = [part.strip() for part in lower.get("no_proxy", "").split(",") if part.strip()]
    both = ",".join([*there, *(host for host in hosts if host not in there)])
    return {"NO_PROXY": both, "no_proxy": both}
