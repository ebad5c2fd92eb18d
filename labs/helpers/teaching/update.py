"""Carries a learner's work at the TODOs of a notebook into the kit's newer version of it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from grader.workspace import Workspace, digest, write_atomic
from labs.helpers.teaching.cells import Cell, pair_cells, read_cells
from labs.helpers.teaching.stubs import ANSWER, Stub, Stubs, find_keys, find_todos, source_stubs, written


@dataclass(frozen=True)
class Block:
    """What a learner wrote at a TODO: its lines, indented as far as the TODO was; None where its end cannot be told."""

    what: str
    lines: tuple[str, ...] | None
    cell: Cell


def update(ws: Workspace, number: str) -> list[str]:
    """The kit's notebook with the learner's blocks in it; the old one goes to backups/, and what could not be carried
    is listed with its text. Raises UnreadableNotebook."""
    lab = ws.kit.lab(number)
    source = ws.kit.root / "labs" / lab.notebook
    mine, given, stubs = read_cells(ws.root / lab.notebook), read_cells(source), source_stubs(lab.source)
    blocks = {block.what: block for block in find_blocks(mine, given, stubs)}
    book, carried = json.loads(source.read_text()), []
    for cell in book["cells"]:
        text = "".join(cell["source"])
        for what in [todo.what for todo in find_todos(text, stubs)] if cell["cell_type"] == "code" else []:
            if what in blocks and blocks[what].lines is not None:
                text = put_block(text, blocks[what], stubs)
                carried.append(what)
        cell["source"] = text.splitlines(keepends=True)
    kept = ws.back_up(lab.notebook)
    write_atomic(ws.root / lab.notebook, (json.dumps(book, indent=1, ensure_ascii=False) + "\n").encode())
    ws.remember(lab.notebook, digest(source.read_bytes()))
    return [
        f"{lab.notebook} is the kit's newest; yours is in {kept}",
        *(f"carried: {what}" for what in carried),
        *not_carried(mine, given, [b for b in blocks.values() if b.what not in carried]),
    ]


def find_blocks(mine: Sequence[Cell], given: Sequence[Cell], stubs: Stubs) -> list[Block]:
    """Each TODO that the learner has done, in the notebook's order."""
    ours = {todo: cell for cell in given for todo in cell.todos}
    found = []
    for cell in mine:
        for todo in find_todos(cell.source, stubs):
            if not todo.is_open:
                given_cell = ours.get(todo.what)
                lines = block_lines(cell.source, todo.what, given_cell.source, stubs) if given_cell else None
                found.append(Block(todo.what, lines, cell))
    return found


def block_lines(text: str, what: str, given: str, stubs: Stubs) -> tuple[str, ...] | None:
    """The learner's lines below a TODO, down to those that the kit gives after it."""
    pad, below = segment(text, what)
    tail = written(segment(given, what)[1])[
        len(stub_lines(given, what, stubs)) :
    ]  # what the kit has between this TODO's stub and the next one
    while below and not below[-1].strip():
        below.pop()
    there = written(below)
    if tail and there[-len(tail) :] == tail:
        end = [i for i, line in enumerate(below) if line.strip()][-len(tail)]
    elif tail:
        end = next((i for i, line in enumerate(below) if line.strip() == tail[0]), -1)
    else:
        end = len(below)
    if end < 0:
        return None
    return tuple("\n".join(line.removeprefix(pad) for line in below[:end]).rstrip().splitlines())


def stub_lines(given: str, what: str, stubs: Stubs) -> tuple[str, ...]:
    """Those of the kit's stub; an `%%answer` has nothing else below its TODO."""
    return written(segment(given, what)[1]) if ANSWER.match(given) else stubs.get(what, Stub()).lines


def segment(text: str, what: str) -> tuple[str, list[str]]:
    """The indentation of a TODO, and the lines below it, down to the next TODO or the end of the cell."""
    lines, marks = text.splitlines(), find_keys(text)
    at = next(i for i, found in marks if found == what)
    end = next((i for i, _ in marks if i > at), len(lines))
    return lines[at][: len(lines[at]) - len(lines[at].lstrip())], lines[at + 1 : end]


def put_block(text: str, block: Block, stubs: Stubs) -> str:
    """The kit's cell with that block in the place of the stub; the TODO's line stays above it."""
    pad, below = segment(text, block.what)
    lines = text.splitlines()
    at = next(i for i, key in find_keys(text) if key == block.what) + 1
    end, left = at, len(stub_lines(text, block.what, stubs))
    while left and end < at + len(below):
        left -= bool(lines[end].strip())
        end += 1
    put = [pad + line if line.strip() else line for line in block.lines or ()]
    return "\n".join([*lines[:at], *put, *lines[end:]])


def not_carried(mine: Sequence[Cell], given: Sequence[Cell], left: Sequence[Block]) -> list[str]:
    """What is in the old notebook alone: blocks whose TODO the kit no longer has or whose end cannot be told, edits of
    cells whose TODO's line is gone, cells of the learner's own."""
    pairs = pair_cells(mine, given)
    own = [c for c in mine if not any(c in cells for cells in pairs.values()) and c.source.strip()]
    edited = [c for g in given if g.todos for c in pairs[g.id] if not set(c.todos) & set(g.todos)]
    cells = list(dict.fromkeys([*(block.cell for block in left), *edited, *own]))
    said = []
    for cell in cells:
        names = [block.what for block in left if block.cell == cell]
        said += [f"not carried, cell {cell.at} of the old one{''.join(f': {n}' for n in names)}"]
        said += [f"    {line}" for line in cell.source.splitlines()]
    return said
