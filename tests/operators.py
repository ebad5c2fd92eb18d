"""Small changes that a slip of the hand makes, over the files that a learner writes: Python, YAML and Dockerfiles.

`mutate(path, text)` gives every one of them as (name, new text); names are stable while the line is, so that a survivor
can be spoken of. Comments and doc strings are never touched.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

SWAPS = {ast.Eq: "!=", ast.NotEq: "==", ast.Lt: ">=", ast.Gt: "<=", ast.LtE: ">", ast.GtE: "<", ast.In: "not in"}
SIGNS = {ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.Gt: ">", ast.LtE: "<=", ast.GtE: ">=", ast.In: "in"}
SIMPLE = (ast.Assign, ast.AugAssign, ast.Expr, ast.Return, ast.Raise)
Change = tuple[str, str]


def mutate(path: Path, text: str) -> Iterator[Change]:
    """Every change of that file, each once."""
    seen = {text}
    source = of_python(text) if path.suffix == ".py" else of_lines(text)
    for name, changed in source:
        if changed not in seen:
            seen.add(changed)
            yield f"{path.name}: {name}", changed


# ---------------------------------------------------------------- Python


def of_python(text: str) -> Iterator[Change]:
    tree = ast.parse(text)
    said = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)}
    for node in ast.walk(tree):
        if not hasattr(node, "lineno") or id(node) in said:
            continue
        for what, put in replacements(node, text):
            yield f"{node.lineno}: {what}", replace(text, node, put)


def replacements(node: ast.AST, text: str) -> Iterator[Change]:
    """(what is done, the text that takes the node's place)."""
    here = ast.get_source_segment(text, node) or ""
    if isinstance(node, ast.Constant):
        yield from constants(node.value)
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        sign = SIGNS[type(node.ops[0])]
        yield f"{here[:40]} turned", here.replace(f" {sign} ", f" {SWAPS[type(node.ops[0])]} ", 1)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield f"{here[:40]} without not", ast.get_source_segment(text, node.operand) or "True"
    elif isinstance(node, ast.Call) and len(node.args) == 1 and not isinstance(node.args[0], ast.Starred):
        yield f"{here[:40]} as its argument", ast.get_source_segment(text, node.args[0]) or ""
    elif isinstance(node, SIMPLE) and not is_said(node):
        yield f"{first(here)} left out", "pass" if not isinstance(node, ast.Return) else "return None"
    elif isinstance(node, ast.Tuple | ast.List) and len(node.elts) > 1 and isinstance(node.ctx, ast.Load):
        parts = [ast.get_source_segment(text, e) or "" for e in node.elts]
        ends = here[0] + here[-1] if here[0] in "([" else "()"
        yield f"{here[:40]} turned round", f"{ends[0]}{', '.join(reversed(parts))}{ends[1]}"


def is_said(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def constants(value: object) -> Iterator[Change]:
    if isinstance(value, bool):
        yield f"{value} turned", repr(not value)
    elif isinstance(value, int | float):
        yield f"{value} + 1", repr(value + 1)
        yield f"{value} as 0", "0"
    elif isinstance(value, str) and value.strip():
        yield f"{value[:30]!r} longer", repr(value + "x")
        yield f"{value[:30]!r} empty", "''"


def replace(text: str, node: ast.AST, put: str) -> str:
    """The text with another one in the place of that node (columns count bytes)."""
    lines = [line.encode() for line in text.splitlines(keepends=True)]
    place = node.lineno, node.col_offset, node.end_lineno, node.end_col_offset  # type: ignore[attr-defined]
    begin = sum(len(line) for line in lines[: place[0] - 1]) + place[1]
    end = sum(len(line) for line in lines[: place[2] - 1]) + place[3]
    whole = b"".join(lines)
    return (whole[:begin] + put.encode() + whole[end:]).decode()


# ---------------------------------------------------------------- lines: YAML, requirements, Dockerfiles

NUMBER = re.compile(r"(?<![\w.\"'-])(\d+)(?=\b)")
WORD = re.compile(r"(?<=: )[\"']?([A-Za-z/][\w./-]+)[\"']?(?=[,}\]\s]|$)")
BOOLEAN = re.compile(r"\b(true|false)\b")


def of_lines(text: str) -> Iterator[Change]:
    lines = text.splitlines(keepends=True)
    for i, line in enumerate(lines):
        code = line.split(" #")[0].rstrip()
        if not code.strip() or code.lstrip().startswith("#"):
            continue
        for what, put in line_changes(code):
            yield f"{i + 1}: {what}", "".join([*lines[:i], put + "\n" if put else "", *lines[i + 1 :]])
        if i + 1 < len(lines) and code.split()[0] in ("COPY", "RUN") and lines[i + 1].startswith(("COPY", "RUN")):
            yield f"{i + 1}: {first(code)} after the next", "".join([*lines[:i], lines[i + 1], line, *lines[i + 2 :]])


def line_changes(code: str) -> Iterator[Change]:
    yield f"{first(code.strip())} left out", ""
    for m in NUMBER.finditer(code):
        for put in (f"{int(m[1]) * 10}", "0", "1"):
            yield f"{m[1]} as {put}", code[: m.start()] + put + code[m.end() :]
    for m in BOOLEAN.finditer(code):
        yield f"{m[1]} turned", code[: m.start()] + {"true": "false", "false": "true"}[m[1]] + code[m.end() :]
    for m in WORD.finditer(code):
        if m[1] not in ("true", "false"):
            yield f"{m[1]} longer", code[: m.end(1)] + "x" + code[m.end(1) :]


def first(text: str) -> str:
    return text.splitlines()[0][:40]
