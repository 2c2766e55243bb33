"""A document as one self-contained page that opens from disk: nothing is loaded from elsewhere."""

from __future__ import annotations

import base64
import gzip
import html as html_module
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import jinja2
import pandas as pd
from markupsafe import Markup

from crossover.bench.statistics.warnings import WARNINGS
from crossover.reports.plots.figure import FAINT, INK, LINE, SOFT, Plot
from crossover.reports.sections import Document
from crossover.reports.tables import MARK

# What a theme gives its own colour, by the colour that plots have for it.
_THEMED: Mapping[str, str] = {
    INK: "var(--ink)",
    SOFT: "var(--soft)",
    LINE: "var(--edge)",
    FAINT: "var(--line)",
    "#ffffff": "var(--paper)",
}
_WHITE_SHEET = re.compile(r'<g id="patch_1">.*?</g>', re.DOTALL)
_DECIMALS = re.compile(r"(?<=\d)\.(\d)\d{2,}")
_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parents[1] / "templates"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)


def html(document: Document) -> str:
    """Return a document as a page."""
    return _TEMPLATES.get_template("page.html").render(
        document=document,
        as_html=_table,
        as_figure=_figure,
        slug=slug,
        packed=_packed,
        warnings={each.name: each.letter for each in WARNINGS},
        mark=MARK,
        style=_asset("page.css"),
        script=_asset("page.js"),
    )


def slug(*words: str) -> str:
    """Return the id of a part on its page."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(words).lower()).strip("-")[:80]


def _asset(name: str) -> Markup:
    return Markup((Path(__file__).parents[1] / "templates" / name).read_text())


def _packed(text: str) -> str:
    """Return text as gzip in base64, as the page's script reads it."""
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def _figure(plot: Plot, number: int) -> Markup:
    """Return a plot's SVG for a page that holds many: its ids its own, its colours the theme's."""
    prefix = f"p{number}-"
    return Markup(themed(_with_classes(_own_ids(_compact(plot.svg), prefix), prefix)))


def themed(svg: str) -> str:
    """Return an SVG without its white sheet, whose lines and text follow the page's theme."""
    found = _WHITE_SHEET.sub("", svg, count=1)
    for colour, variable in _THEMED.items():
        found = found.replace(colour, variable)
    # Text whose colour is not said is black.
    return found.replace("<svg ", '<svg fill="currentColor" ', 1)


def _own_ids(svg: str, prefix: str) -> str:
    """Return an SVG that names what it refers to alone, with ``prefix``: no two plots share it."""
    named = set(re.findall(r'href="#([^"]+)"', svg)) | set(re.findall(r"url\(#([^)]+)\)", svg))
    found = re.sub(
        r' id="([^"]+)"', lambda it: f' id="{prefix}{it[1]}"' if it[1] in named else "", svg
    )
    found = re.sub(r'href="#([^"]+)"', rf'href="#{prefix}\1"', found)
    return re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}\1)", found)


def _with_classes(svg: str, prefix: str) -> str:
    """Return an SVG that says each style once, as a class."""
    counts = Counter(re.findall(r'style="([^"]+)"', svg))
    classes = {
        style: f"{prefix}{number}"
        for number, (style, count) in enumerate(counts.items())
        if count > 1
    }
    found = re.sub(
        r'style="([^"]+)"',
        lambda it: f'class="{classes[it[1]]}"' if it[1] in classes else it[0],
        svg,
    )
    rules = "".join(f".{name}{{{style}}}" for style, name in classes.items())
    return found.replace("</style>", f"{rules}</style>", 1)


def _compact(svg: str) -> str:
    """Return an SVG with a decimal per coordinate, and without metadata."""
    found = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Inside tags alone: what is read keeps its digits.
    found = re.sub(r"<[^>]+>", lambda tag: _DECIMALS.sub(r".\1", tag[0]), found)
    return re.sub(r"\s*\n\s*", " ", found).replace("> <", "><")


def _table(frame: pd.DataFrame, title: str) -> Markup:
    """Return a table of HTML with its caption; of no rows the word for it."""
    if frame.empty:
        return Markup("<p>None.</p>")
    head = "".join(f'<th scope="col">{_cell(name)}</th>' for name in frame.columns)
    lines = [
        "".join(f"<td>{_cell(cell)}</td>" for cell in line)
        for line in frame.itertuples(index=False)
    ]
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    caption = f'<caption class="hidden">{_cell(title)}</caption>'
    text = f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>"
    return Markup(text)


def _cell(content: object) -> str:
    # Text of another direction does not turn its neighbours around.
    return f"<bdi>{html_module.escape(str(content))}</bdi>"
