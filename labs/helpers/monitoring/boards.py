"""A Grafana dashboard as code: rows, panels, and what each panel's query returns."""

from __future__ import annotations

import json
from pathlib import Path

from grader.model import Facts
from labs.helpers.monitoring.asking import HOME, tell

WIDE, HIGH = 8, 7  # of a panel; Grafana's grid has 24 columns
ROW = {"type": "row", "collapsed": False, "panels": []}


def board(title: str, rows: dict[str, dict[str, str]]) -> Facts:
    """Grafana's JSON of that board: row -> panel's title -> query."""
    panels: list[Facts] = []
    y = 0
    for row, queries in rows.items():
        panels.append({**ROW, "id": len(panels) + 1, "title": row, "gridPos": {"h": 1, "w": 24, "x": 0, "y": y}})
        for x, (name, query) in enumerate(queries.items()):
            where = {"h": HIGH, "w": WIDE, "x": WIDE * (x % 3), "y": y + 1 + HIGH * (x // 3)}
            targets = [{"refId": "A", "expr": query}]
            panels.append({"id": len(panels) + 1, "type": "timeseries", "title": name, "gridPos": where,
                           "fieldConfig": {"defaults": {}, "overrides": []}, "targets": targets})  # fmt: skip
        y += 1 + HIGH * -(-len(queries) // 3)
    times = {"from": "now-15m", "to": "now"}
    return {"title": title, "schemaVersion": 39, "panels": panels, "time": times, "refresh": "10s"}


def save(title: str, rows: dict[str, dict[str, str]]) -> Path:
    """Writes deploy/monitoring/dashboard.json, and says what each panel would show now."""
    path = HOME / "dashboard.json"
    made = board(title, rows)
    path.write_text(json.dumps(made, indent=1) + "\n")
    for panel in made["panels"]:
        queries = [t["expr"].replace("$__rate_interval", "1m") for t in panel.get("targets", [])]
        print(panel["title"].upper() if not queries else f"  {panel['title']}: {tell(queries[0])}")
    return path
