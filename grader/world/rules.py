"""Alert rules: read with care, tried on series of ours, and broken in small ways to try their own tests.

promtool does the work, in a scratch folder that holds copies of the rules and of their unit tests.
"""

from __future__ import annotations

import copy
import json
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from grader.errors import LabError
from grader.model import Facts
from grader.world.prometheus import promtool

MOST = 100_000  # bytes of one file
NUMBER = re.compile(r"(?P<sign>[<>]=?)(?P<gap>\s*(?:bool\s+)?)(?P<number>\d+(?:\.\d+)?)")
WINDOW = re.compile(r"\[(\d+)([smhd])\]")
MATCHER = re.compile(r"""\s*\w+\s*(?:=~|!~|!=|=)\s*(?:"[^"]*"|'[^']*')\s*,?""")
COMMENT = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)|#[^\n]*""")  # or a string, which may hold a #
SERIES = re.compile(r"""(?<![\w:"'])(?P<name>[a-zA-Z_:][\w:]*)(\s*{(?:[^}"]|"[^"]*")*})?(\s*\[(?P<window>[^]:]+)\])?""")
DURATION = re.compile(r"\b(\d+)(ms|[smhd])\b")
SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def read_yaml(path: Path) -> Any:
    """The file's content, by the safe loader; None when it is not there. Raises ValueError for what is no YAML, or
    longer than anybody writes."""
    if not path.is_file():
        return None
    if path.stat().st_size > MOST:
        raise ValueError(f"{path.name} has more than {MOST:,} bytes")
    text = path.read_text(errors="replace")
    if re.search(r"^[^#'\"]*[:\-]\s+[&*]\w", text, re.M):  # anchors: a few of them can make billions of entries
        raise ValueError(f"{path.name} has YAML anchors, which are not read here")
    try:
        found = [document for document in yaml.safe_load_all(text) if document is not None]
    except yaml.YAMLError as wrong:
        raise ValueError(f"{path.name} is no YAML: {wrong}"[:300]) from wrong
    if len(found) > 1:
        raise ValueError(f"{path.name} has {len(found)} documents, where one is read")
    return found[0] if found else None


def all_rules(document: Any) -> list[Facts]:
    """Every rule of a rules file, in order."""
    groups = document.get("groups") if isinstance(document, dict) else None
    return [r for g in groups or [] if isinstance(g, dict) for r in g.get("rules") or [] if isinstance(r, dict)]


def name_of(rule: Facts) -> str:
    return str(rule.get("alert") or rule.get("record") or "")


def bare(expr: str) -> str:
    """The expression without its comments."""
    return COMMENT.sub(lambda found: found[1] or "", expr)


def unrecorded(query: str, rules: Sequence[Facts]) -> str:
    """The query with each recorded series replaced by its rule's expression, for a Prometheus that records nothing.
    Matchers of a recorded series are left out: the expression has all that they could choose from."""
    known: dict[str, str] = {}
    for rule in rules:
        if "record" in rule:
            known[name_of(rule)] = f"({_put_in(bare(str(rule.get('expr', ''))), known)})"
    return _put_in(query, known)


def _put_in(query: str, known: dict[str, str]) -> str:
    found = [name for name in (m["name"] for m in SERIES.finditer(query)) if name in known]
    if sum(len(known[name]) for name in found) > MOST:
        return query

    def of(m: re.Match[str]) -> str:
        return m[0] if m["name"] not in known else known[m["name"]] + (f"[{m['window']}:]" if m["window"] else "")

    return SERIES.sub(of, query)


def scale(text: str, factor: float) -> str:
    """The rules with every duration divided by `factor`, so that an hour's window is seen to work in a minute."""

    def shorter(found: re.Match[str]) -> str:
        return f"{max(1, round(int(found[1]) * SECONDS[found[2]] / factor))}s"

    return DURATION.sub(shorter, text)


# ---------------------------------------------------------------- mutants


def mutants_of(rule: Facts) -> Iterator[tuple[str, Facts]]:
    """Small mistakes in one rule, each with its name. None is in a comment, and none leaves the rule as it was."""
    expr = bare(str(rule.get("expr", "")))
    rule = {**rule, "expr": expr}
    for found in NUMBER.finditer(expr):
        for word, factor in (("times 4", 4), ("divided by 4", 0.25)) if float(found["number"]) else ():
            number = f"{float(found['number']) * factor:g}"
            yield f"threshold {found['number']} {word}", at(rule, expr, found, f"{found['sign']}{found['gap']}{number}")
        sign = found["sign"].replace(">", "-").replace("<", ">").replace("-", "<")
        yield f"comparison {found[0]} reversed", at(rule, expr, found, f"{sign}{found['gap']}{found['number']}")
    if rule.get("for") not in (None, "", "0s", 0):
        yield "without `for`", {k: v for k, v in rule.items() if k != "for"}
    for window in dict.fromkeys(m[0] for m in WINDOW.finditer(expr)):
        longer = WINDOW.sub(lambda m: f"[{int(m[1]) * 6}{m[2]}]", window)
        yield f"window {window} six times as long", {**rule, "expr": expr.replace(window, longer)}
    for matcher in dict.fromkeys(m.strip(" ,\n") for braces in re.findall(r"{([^}]*)}", expr)
                                 for m in MATCHER.findall(braces)):  # fmt: skip
        yield f"without the label {matcher}", {**rule, "expr": re.sub(re.escape(matcher) + r"\s*,?", "", expr)}
    if re.search(r"\band\b", expr):
        yield "`or` for `and`", {**rule, "expr": re.sub(r"\band\b", "or", expr)}
    if "histogram_quantile(0.9" in expr:
        yield "the median", {**rule, "expr": re.sub(r"histogram_quantile\(0\.9\d*", "histogram_quantile(0.5", expr)}
    # Where there are data this changes no recorded value, nor an alert that is always there to show that alerts arrive.
    if "record" not in rule and "vector(1)" not in expr:
        yield "true without data", {**rule, "expr": f"({expr}) or on() vector(1)"}


def at(rule: Facts, expr: str, found: re.Match[str], put: str) -> Facts:
    return {**rule, "expr": expr[: found.start()] + put + expr[found.end() :]}


def try_mutants(document: Facts, tests: Sequence[Path]) -> dict[str, dict[str, bool]]:
    """For each rule, by name: which of its mutants the tests kill; of two that are called the same, whether both. One
    that is no PromQL any more is left out."""
    jobs = []
    for number, rule in enumerate(all_rules(document)):
        for what, mutant in mutants_of(rule):
            broken = copy.deepcopy(document)
            all_rules(broken)[number].clear()
            all_rules(broken)[number].update(mutant)
            jobs.append((name_of(rule), what, broken))
    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(lambda job: run_tests(job[2], tests), jobs))
    found: dict[str, dict[str, bool]] = {name_of(rule): {} for rule in all_rules(document)}
    for (name, what, _), (passed, output) in zip(jobs, said, strict=True):
        if passed or "parse error" not in output:
            found[name][what] = not passed and found[name].get(what, True)
    return found


def run_tests(document: Facts, tests: Sequence[Path]) -> tuple[bool, str]:
    """Whether all of those unit tests pass on these rules, and what promtool said. Each test reads these rules alone,
    whatever file it names."""
    with tempfile.TemporaryDirectory(prefix="rules-") as folder:
        home = Path(folder)
        (home / "rules.yml").write_text(yaml.safe_dump(document))
        for number, test in enumerate(tests):
            try:
                content = read_yaml(test)
            except ValueError as wrong:
                return False, str(wrong)
            content = {**(content if isinstance(content, dict) else {}), "rule_files": ["rules.yml"]}
            (home / f"{number}.yml").write_text(yaml.safe_dump(content))
        done = promtool("test", "rules", *[f"{n}.yml" for n in range(len(tests))], cwd=home)
    return done.ok, done.output


def covered(rules: Sequence[Facts], tests: Sequence[Path]) -> list[str]:
    """The names of the rules that some test expects to fire (a recording rule: that some query or rule reads)."""
    contents = [c for t in tests if isinstance(c := read_yaml(t), dict)]
    cases = [case for c in contents for case in c.get("tests") or [] if isinstance(case, dict)]
    alerts = {str(a.get("alertname")) for c in cases for a in c.get("alert_rule_test") or [] if a.get("exp_alerts")}
    asked = " ".join(str(q.get("expr")) for c in cases for q in c.get("promql_expr_test") or [])
    asked += " ".join(str(r.get("expr")) for r in rules)
    return [name_of(r) for r in rules if name_of(r) in alerts or ("record" in r and name_of(r) in asked)]


# ---------------------------------------------------------------- series of ours


API = "bentoml_api_server_request"
CLASSIFY = 'endpoint="/classify",service_name="demo_text_intelligence"'
OTHERS = 'endpoint="/readyz",service_name="demo_text_intelligence"'


class Situation(NamedTuple):
    """Series, the moment at which to look, which kind of alert is to fire there (slow, errors), the seconds between two
    samples, and over how long before that moment to look for one that fired (the moment alone without it). Where it is
    `still`, nothing is the matter at all."""

    series: list[Facts]
    moment: str
    wanted: dict[str, bool]
    interval: str = "1m"
    within: str = ""
    still: bool = False


NO_DATA = "no data at all"
RECORDED = Path(__file__).with_name("idle_hour.yml")


@cache
def recorded() -> list[Facts]:
    """An hour of a service that programs alone asked (tests/record_idle_hour.py), a sample each 15 seconds."""
    return [dict(one) for one in yaml.safe_load(RECORDED.read_text())]


def situations() -> dict[str, Situation]:
    """Each by its name."""
    calm, quiet = {"slow": False, "errors": False}, [(180, 0.0, 0.0, 0.0)]
    good, slow, bad = (180, 20.0, 0.0, 0.0), (60, 20.0, 0.2, 0.0), (60, 20.0, 0.0, 0.5)
    return {
        "an idle hour": Situation(series(quiet), "170m", calm, still=True),
        "an idle hour that was recorded: probes, a slow report each four minutes, two 503s": Situation(
            recorded(), "59m", calm, "15s", "59m", still=True),
        NO_DATA: Situation([], "170m", calm),
        "three good hours": Situation(series([good]), "170m", calm, still=True),
        "an hour in which one answer in five takes two seconds": Situation(
            series([good, slow]), "239m", {**calm, "slow": True}),
        "an hour in which every second answer is a 503": Situation(
            series([good, bad]), "239m", {**calm, "errors": True}),
        "three good hours after these": Situation(series([good, slow, bad, good]), "479m", calm),
        "two slow minutes": Situation(series([good, (2, 20.0, 0.5, 0.0)]), "182m", calm),
        "ten minutes in which every second answer is a 503": Situation(
            series([good, (10, 20.0, 0.0, 0.5)]), "190m", calm),
        "ten good minutes after an hour of 503s": Situation(series([good, bad, (10, 20.0, 0.0, 0.0)]), "250m", calm),
        "ten good minutes after a slow hour": Situation(series([good, slow, (10, 20.0, 0.0, 0.0)]), "250m", calm),
        "an hour in which every second question is a wrong one, a 400": Situation(
            series([good, bad], "400"), "239m", calm),
        "an hour in which every second answer is a 500": Situation(
            series([good, bad], "500"), "239m", {**calm, "errors": True}),
    }  # fmt: skip


def series(phases: Sequence[tuple[int, float, float, float]], code: str = "503") -> list[Facts]:
    """Each phase: minutes, requests a second, share of slow answers (2 s instead of 50 ms), share of those with that
    code. The kubelet asks far more often than people do."""

    def counted(of: Callable[[float, float, float], float]) -> str:
        value, parts = 0.0, []
        for minutes, rate, slow, errors in phases:
            step = of(rate, slow, errors) * 60
            parts.append(f"{value:g}+{step:g}x{minutes - 1}")
            value += step * minutes
        return " ".join(parts)

    edges = {"0.025": 0.0, "0.1": 1.0, "0.25": 1.0, "0.5": 1.0, "1.0": 1.0}
    made = [
        (f'{API}_duration_seconds_bucket{{{CLASSIFY},http_response_code="200",le="{edge}"}}',
         counted(lambda rate, slow, errors, share=share: rate * (1 - slow) * share))  # type: ignore[misc]
        for edge, share in edges.items()
    ]  # fmt: skip
    made += [
        (f'{API}_duration_seconds_bucket{{{CLASSIFY},http_response_code="200",le="{edge}"}}', counted(lambda r, *_: r))
        for edge in ("2.5", "+Inf")
    ]
    made += [
        (f'{API}_total{{{CLASSIFY},http_response_code="200"}}', counted(lambda r, _, e: r * (1 - e))),
        (f'{API}_total{{{CLASSIFY},http_response_code="{code}"}}', counted(lambda r, _, e: r * e)),
        (f'{API}_total{{{OTHERS},http_response_code="200"}}', counted(lambda *_: 200.0)),
        (f'{API}_duration_seconds_bucket{{{OTHERS},http_response_code="200",le="0.025"}}', counted(lambda *_: 200.0)),
        (f'{API}_duration_seconds_bucket{{{OTHERS},http_response_code="200",le="+Inf"}}', counted(lambda *_: 200.0)),
    ]
    return [{"series": name, "values": values} for name, values in made]


class BadRule(ValueError):
    """A rule that Prometheus reads and cannot compute; the message is its own."""


def fired(document: Facts, alerts: Sequence[str], situation: Situation) -> dict[str, bool]:
    """Which of those alerts fire there: at the moment, or at any time within that long before it. Raises BadRule."""
    firing = 'ALERTS{alertstate="firing"}'
    if situation.within:
        firing = f"count_over_time({firing}[{situation.within}])"
    silent = {"expr": f"count by (alertname) ({firing})", "eval_time": situation.moment}
    case = {"interval": situation.interval, "input_series": situation.series, "promql_expr_test": [silent]}
    with tempfile.TemporaryDirectory(prefix="rules-") as folder:
        home = Path(folder)
        (home / "rules.yml").write_text(yaml.safe_dump(document))
        test = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [case]}
        (home / "test.yml").write_text(yaml.safe_dump(test))
        done = promtool("test", "rules", "test.yml", cwd=home)
    if failed := re.search(r"rule: .*, time: .*, err: .*", done.output):
        raise BadRule(failed[0])
    got = re.search(r"got: (.*)", done.output)
    if not done.ok and not got:
        raise LabError(f"promtool does not say what fires: {done.tail(4)}")
    said = got[1] if got else ""
    return {name: f"{{alertname={json.dumps(name, ensure_ascii=False)}}}" in said for name in alerts}


def check_config(path: Path) -> str:
    """promtool's complaint about a configuration of Prometheus; nothing when it has none. The files that it names are
    not looked for: here they are others."""
    return complaint(path, "config", "--syntax-only")


def check_rules(path: Path) -> str:
    """promtool's complaint about the file; nothing when it has none."""
    return complaint(path, "rules")


def complaint(path: Path, *words: str) -> str:
    with tempfile.TemporaryDirectory(prefix="rules-") as folder:
        (Path(folder) / path.name).write_bytes(path.read_bytes()[:MOST])
        done = promtool("check", *words, path.name, cwd=Path(folder))
    return "" if done.ok else done.tail(4)
