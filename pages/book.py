"""One executed notebook as HTML: nbconvert with a template of ours (notebook/), and what it shows mended for readers
who listen, use the keyboard, or see few colours."""

from __future__ import annotations

import base64
import html
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pygments.lexer import Lexer

HERE = Path(__file__).parent
ROLES = ("why", "predict", "do", "see", "explain", "check")  # of a cell, which has one (tests/test_notebooks.py)
COLUMNS, MOST_COLUMNS = 96, 190  # what fits; a table of lines up to there scrolls, all else is wrapped
# Of code, on the grey of style.css: each has a contrast of at least 4.5 (tests/test_pages.py)
INKS = {
    "Keyword": "#7a2f8f", "Name.Tag": "#7a2f8f", "String": "#0b6238", "Number": "#8f4300", "Name.Function": "#00548f",
    "Name.Class": "#00548f", "Name.Builtin": "#00548f", "Name.Decorator": "#8f4300", "Name.Variable": "#8f4300",
    "Comment": "#59626d", "Operator": "#3d454e", "Operator.Word": "#7a2f8f", "Name.Attribute": "#00548f",
}  # fmt: skip
ANSI = {"black": "#1b1f24", "red": "#ae2e1d", "green": "#0b6238", "yellow": "#7a5200", "blue": "#00548f",
        "magenta": "#7a2f8f", "cyan": "#00605f", "white": "#545c66"}  # fmt: skip


def read(path: Path) -> Any:
    """With streams joined that papermill kept piece by piece, as the program wrote them."""
    import nbformat

    book = nbformat.read(path, as_version=4)
    for cell in book.cells:
        joined: list[Any] = []
        for output in cell.get("outputs", []):
            stream = output.get("name") if output.output_type == "stream" else None
            if stream and joined and joined[-1].get("name") == stream:
                joined[-1].text += output.text
            else:
                joined.append(output)
        if cell.cell_type == "code":
            cell.outputs = joined
    return book


def title(book: Any) -> str:
    """The first heading: "01 · Save two models"."""
    found = re.search(r"^# (.*)$", book.cells[0].source, re.M)
    return found[1].strip() if found else "A notebook"


def to_html(book: Any) -> str:
    """The cells, without a page around them."""
    from nbconvert.exporters import HTMLExporter
    from traitlets.config import Config

    ours = {"role": role, "kind": kind, "highlighted": highlight, "wide": wide, "mend": mend, "anchored": anchored}
    config = Config({"HTMLExporter": {"filters": ours, "exclude_anchor_links": True}})
    exporter = HTMLExporter(config=config, template_name="notebook", extra_template_basedirs=[str(HERE)])
    return str(exporter.from_notebook_node(book)[0])


# ---------------------------------------------------------------- the template's filters


def role(cell: Any) -> str:
    """why, predict, do, see, explain or check."""
    return next((tag for tag in cell.metadata.get("tags", []) if tag in ROLES), "cell")


def kind(cell: Any) -> str:
    """What a code cell is, in words: a file, a typed command, a prediction, Python."""
    magic, _, rest = cell.source.partition("\n")[0].partition(" ")
    served = re.search(r"--serve +(\S+)", rest)
    named = {"%%work": f"file {rest.split(' ')[0]}", "%%answer": f"prediction {rest}",
             "%%shell": f"typed command, keeps the server {served[1]}" if served else "typed command"}  # fmt: skip
    return html.escape(named.get(magic, "Python"))


def highlight(cell: Any) -> str:
    """The source in colours, by the language that the cell is in."""
    from pygments import highlight as colour
    from pygments.formatters import HtmlFormatter

    magic, _, body = cell.source.partition("\n")
    text = body if magic.startswith("%%") else cell.source
    return str(colour(text, lexer(magic), HtmlFormatter(nowrap=True)))


def lexer(magic: str) -> Lexer:
    from pygments.lexers import get_lexer_by_name, get_lexer_for_filename
    from pygments.util import ClassNotFound

    word, name = [*magic.split(), "", ""][:2]
    if word == "%%shell":
        return get_lexer_by_name("bash", stripnl=False)
    if word == "%%work":
        try:
            return get_lexer_for_filename(Path(name).name.replace(".template", ""), stripnl=False)
        except ClassNotFound:
            return get_lexer_by_name("text")
    return get_lexer_by_name("text" if word == "%%answer" else "python", stripnl=False)


def wide(text: str, name: str) -> str:
    """How a block of text is laid out. One that scrolls can be reached by the keyboard, and has a name."""
    lines = text.splitlines()
    longest = max(map(len, lines), default=0)
    table = sum(bool(re.search(r"\S {2,}\S", line)) for line in lines) >= 2
    if longest <= COLUMNS:
        return ""
    if longest > MOST_COLUMNS or not table:
        return ' class="wrapped"'
    return f' class="wide" tabindex="0" role="region" aria-label="{html.escape(name)}"'


def mend(text: str) -> str:
    """HTML of a cell, fit for a page: column heads say that they are, a page has one main part, and no picture goes
    without words."""
    text = re.sub(r"<th([^>]*)>\s*</th>", r"<td\1></td>", text)
    text = re.sub(r"<th(?![a-z])(?![^>]*scope)", '<th scope="col"', text)
    text = re.sub(r"<table(?![a-z])", '<div class="table"><table', text).replace("</table>", "</table></div>")
    text = re.sub(r"<(/?)main\b", r"<\1div", text)
    return re.sub(r'href="([^":#]+)\.ipynb(#[^"]*)?"', r'href="\1.html\2"', text)


def anchored(text: str) -> str:
    """Each heading below the first gets a name, by which the list of parts leads to it."""

    def name(found: re.Match[str]) -> str:
        said = html.unescape(re.sub(r"<[^>]+>", "", found[2])).partition("(")[0]
        return f'<h{found[1]} id="{re.sub(r"[^a-z0-9]+", "-", said.lower()).strip("-")}">{found[2]}</h{found[1]}>'

    return re.sub(r"<h([2-6])>(.*?)</h\1>", name, text, flags=re.S)


# ---------------------------------------------------------------- what is taken out of it


def parts(content: str) -> list[dict[str, str]]:
    """Its second headings, for the list beside the page."""
    found = re.findall(r'<h2 id="([^"]*)">(.*?)</h2>', content, re.S)
    return [{"id": i, "name": html.unescape(re.sub(r"<[^>]+>| \([^)]*minutes?[^)]*\)", "", name))} for i, name in found]


def small_picture(book: Any, width: int = 840) -> dict[str, Any] | None:
    """The last figure of the notebook, small, with its finding as words; None where there is none."""
    from PIL import Image

    shown = [o.data["text/html"] for c in book.cells for o in c.get("outputs", []) if "text/html" in o.get("data", {})]
    found = [m for text in shown if (m := re.search(r'src="data:image/png;base64,([^"]+)" alt="([^"]*)"', text))]
    if not found:
        return None
    image = Image.open(io.BytesIO(base64.b64decode(found[-1][1]))).convert("RGB")
    image.thumbnail((width, width))
    out = io.BytesIO()
    image.quantize(64).save(out, format="png", optimize=True)
    source = f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
    return {"src": source, "alt": html.unescape(found[-1][2]), "width": image.width, "height": image.height}


def code_style() -> str:
    """CSS for code in colours and for colours that programs print."""
    from pygments.token import STANDARD_TYPES, string_to_tokentype

    rules = []
    for name, ink in INKS.items():
        kind = string_to_tokentype(name)
        classes = sorted(short for token, short in STANDARD_TYPES.items() if short and token in kind)
        rules.append(", ".join(f".source .{short}" for short in classes) + f" {{ color: {ink} }}")
    rules.append(".source .c, .source .c1 { font-style: italic } .source .k, .source .kn { font-weight: 600 }")
    for name, ink in ANSI.items():
        rules.append(f".ansi-{name}-fg, .ansi-{name}-intense-fg {{ color: {ink} }}")
    return "\n".join([*rules, ".ansi-bold { font-weight: 700 }"])
