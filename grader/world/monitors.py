"""What a ServiceMonitor makes of a series' labels: the operator's own, its `relabelings` and `metricRelabelings`."""

from __future__ import annotations

import re
from typing import Any

Labels = dict[str, str]
NUMBERED = re.compile(r"\$(?:(\d+)|\{(\d+)\})")


def scraped(end: dict[str, Any], service: str, page: Labels) -> Labels:
    """The labels of a series of that Service's page when that endpoint of a ServiceMonitor has scraped it; none when it
    is dropped. The target's labels, `relabelings` applied, join the page's; then `metricRelabelings` are."""
    port = str(end.get("port"))
    made = {"job": service, "service": service, "endpoint": port, "__meta_kubernetes_endpoint_port_name": port}
    if not (target := relabelled(made, end.get("relabelings"))):
        return {}
    labels = dict(page)
    for name, value in target.items():
        if name.startswith("__") or (name in page and end.get("honorLabels") is True):
            continue
        if name in page:
            labels[f"exported_{name}"] = page[name]
        labels[name] = value
    return relabelled(labels, end.get("metricRelabelings"))


def relabelled(labels: Labels, changes: Any) -> Labels:
    for change in changes if isinstance(changes, list) else []:
        if isinstance(change, dict):
            labels = {name: value for name, value in {**labels, **set_by(change, labels)}.items() if value}
    return labels


def set_by(change: dict[str, Any], labels: Labels) -> Labels:
    """The labels that one relabelling sets; with "" one is taken away. It drops nothing by a label that is not here."""
    action = str(change.get("action", "replace")).lower()
    regex, put = str(change.get("regex", "(.*)")), str(change.get("replacement", "$1"))
    sources = [str(name) for name in change.get("sourceLabels") or []]
    text = str(change.get("separator", ";")).join(labels.get(name, "") for name in sources)
    value = rewritten(regex, text, put)
    named = {name: rewritten(regex, name, put) for name in labels}
    if action == "replace":
        return {} if value is None else {str(change.get("targetLabel")): value}
    if action == "labelmap":
        return {new: labels[name] for name, new in named.items() if new}
    if action in ("labeldrop", "labelkeep"):
        return {name: "" for name, new in named.items() if (new is not None) == (action == "labeldrop")}
    known = bool(sources) and set(sources) <= set(labels)
    return dict.fromkeys(labels, "") if known and (value is not None) == (action == "drop") else {}


def rewritten(regex: str, text: str, put: str) -> str | None:
    """`put` with the groups of the regex, which the whole text fits, for $1 and ${1}; None where it does not fit."""
    try:
        found = re.fullmatch(regex, text)
    except re.error:
        return None
    if not found:
        return None
    groups = {str(n): group or "" for n, group in enumerate((found[0], *found.groups()))}
    return NUMBERED.sub(lambda m: groups.get(m[1] or m[2], ""), put)
