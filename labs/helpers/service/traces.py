"""One request's way, told by the processes themselves: they send each step with its begin and end (OpenTelemetry)."""

from __future__ import annotations

import gzip
import http.server
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labs.helpers.charts.canvas import BLUE, GREY, ORANGE, Picture, canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Span:
    """A step in one process; begin and end in seconds of the machine's clock, which all processes share."""

    process: str
    name: str
    kind: int  # 2: asked by somebody else; 3: asks somebody else
    trace: bytes
    begin: float
    end: float

    @property
    def ms(self) -> float:
        return 1000 * (self.end - self.begin)


class Collector:
    """Listens on a free port of 127.0.0.1 and keeps the spans that servers send; ends with the kernel."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        keep = self.spans.extend

        class Receive(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                keep(read_spans(gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing: the notebook shows the spans, not their arrival."""

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receive)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{server.server_port}/v1/traces"

    def config(self) -> dict[str, Any]:
        """The part of a BentoML configuration that makes every process send its spans here."""
        otlp = {"protocol": "http", "endpoint": self.url}
        return {"exporter_type": "otlp", "sample_rate": 1.0, "otlp": otlp}

    def way(self, act: Callable[[], object], limit: float = 8.0) -> list[Span]:
        """All spans of the one request that `act` makes, and the caller's own view of it, in order of their begin."""
        known = {s.trace for s in self.spans}
        begin = time.time()
        act()
        caller = Span("caller", "asks, and has the answer", 0, b"", begin, time.time())
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            new = [s for s in self.spans if s.trace not in known]
            if len({s.process for s in new}) >= 3:
                # the steps of a process come together, so a moment later they are all here
                time.sleep(0.3)
                return sorted([caller, *(s for s in self.spans if s.trace not in known)], key=lambda s: s.begin)
            time.sleep(0.05)
        return [caller]


def read_spans(body: bytes) -> list[Span]:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    found = []
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        process = next(a.value.string_value for a in resource.resource.attributes if a.key == "service.name")
        for span in (s for scope in resource.scope_spans for s in scope.spans):
            begin, end = span.start_time_unix_nano / 1e9, span.end_time_unix_nano / 1e9
            found.append(Span(process, span.name, span.kind, span.trace_id, begin, end))
    return found


def steps(way: list[Span]) -> list[tuple[str, Span]]:
    """The spans that make a step a person can name, from the caller's to the innermost, as (who does what, span)."""
    named = []
    for span in way:
        if span.kind == 0:
            named.append(("the caller waits", span))
        elif span.kind == 2:
            what = span.name.removeprefix("POST ")
            api = what == "/classify"
            named.append((f"API server: {what}" if api else f"{span.process}: {what}", span))
        elif span.kind == 3:
            named.append(("API server waits for a runner", span))
    return named


def draw_waterfall(way: list[Span]) -> Picture:
    """One bar a step, time across: filled in a runner, hatched where somebody waits for the step below."""
    named = steps(way)
    figure, axes = canvas("Where is one request, and for how long?", 8.6, 1.1 + 0.46 * len(named))
    zero = named[0][1].begin
    for row, (_, span) in enumerate(named):
        _bar(axes, row, 1000 * (span.begin - zero), span)
    axes.set_yticks(range(len(named)), [name for name, _ in named], fontsize=9)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.14 * named[0][1].ms)
    key = "filled: in a runner, waiting for a batch included; dotted: your function;\nhatched: waiting for a row below"
    axes.set_xlabel(f"milliseconds since the caller began\n({key})")
    return Picture(figure, waterfall_finding(way))


def _bar(axes: Axes, row: int, begin: float, span: Span) -> None:
    computing = span.kind == 2 and "runner" in span.process
    look: dict[str, Any] = {"color": BLUE} if computing else {"facecolor": "white", "edgecolor": GREY, "hatch": "////"}
    if span.kind == 2 and not computing:
        look = {"facecolor": "white", "edgecolor": ORANGE, "hatch": "..", "linewidth": 1.5}
    axes.barh(row, span.ms, left=begin, height=0.62, **look)
    axes.text(begin + span.ms, row, f"  {span.ms:.1f} ms", va="center", fontsize=9)


def parts(way: list[Span]) -> dict[str, float]:
    """The caller's milliseconds, divided without overlap: in each runner, on the way to it and back, the rest."""
    served = {s.process: s.ms for s in way if s.kind == 2}
    runners = {name: ms for name, ms in served.items() if name.endswith("runner")}
    api = next(ms for name, ms in served.items() if name not in runners)
    waiting = sum(s.ms for s in way if s.kind == 3)
    total = next(s.ms for s in way if s.kind == 0)
    hops = waiting - sum(runners.values())
    return {**runners, "to the runners and back": hops, "API server": api - waiting, "caller and network": total - api}


def waterfall_finding(way: list[Span]) -> str:
    divided = parts(way)
    total = sum(divided.values())
    told = ", ".join(f"{name} {ms:.1f}" for name, ms in divided.items())
    most = max(divided, key=lambda name: divided[name])
    return f"Of {total:.1f} ms, in ms: {told}. The largest part, {divided[most] / total:.0%}, is {most}."
