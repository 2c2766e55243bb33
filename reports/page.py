"""The report of a run: one self-contained HTML page, Markdown, CSV and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import jinja2

from crossover.bench.errors import InputError
from crossover.bench.records.files import write_whole
from crossover.reports import conditions, metrics, tables
from crossover.reports.foreign import markdown_text
from crossover.reports.results import Results
from crossover.reports.sections import Section, plain
from crossover.reports.tables import Table
from crossover.reports.views import gate, peers, scaling, search, selfcheck, step, sweep

#: Every view, in the order of the page.
VIEWS: Mapping[str, Callable[[Results], Section | None]] = {
    "sweep": sweep.section,
    "search": search.section,
    "peers": peers.section,
    "step": step.section,
    "scaling": scaling.section,
    "selfcheck": selfcheck.section,
    "gate": gate.section,
}
#: Of the JSON, which ``schema.json`` beside this file describes.
SCHEMA_VERSION = 1
_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)


def sections(results: Results, study: str | None = None) -> list[Section]:
    """Return what is shown of one study, or of all that the run holds.

    Raises:
        InputError: if nothing of it is stored.
    """
    names = [name for name in VIEWS if study in (None, name)]
    found = [made for name in names if (made := _section(results, name)) is not None]
    if not found:
        what = f"nothing of {study!r}" if study else "nothing that can be shown"
        raise InputError(f"run {results.run.run_id} holds {what}: measure into it first")
    return found


@lru_cache(maxsize=64)
def _section(results: Results, study: str) -> Section | None:
    return VIEWS[study](results)


def write(results: Results, folder: Path) -> list[Path]:
    """Write the page, the Markdown with its plots, and the CSV to ``folder``; return the paths.

    Each file is written whole or left as it was.

    Raises:
        InputError: if a file cannot be written, or there is nothing to show.
    """
    shown = sections(results)
    contents = {
        "report.html": html(results, shown),
        "report.md": markdown(results, shown),
        "results.csv": metrics.rows(results).to_csv(index=False),
    } | {plot.file: plot.svg for each in shown for plot in each.plots}
    for name, content in contents.items():
        write_whole(folder / name, content, "free space, or use another --out")
    return [folder / name for name in contents]


def as_json(results: Results, study: str | None = None) -> str:
    """Return one study, or all that the run holds, as one JSON object: see ``schema.json``.

    Raises:
        InputError: if nothing of it is stored.
    """
    content = {
        "schema": SCHEMA_VERSION,
        "run": asdict(results.run),
        "studies": {each.study: each.record for each in sections(results, study)},
        "rows": metrics.rows(results, study).to_dict("records"),
    }
    return json.dumps(plain(content), allow_nan=False)


def html(results: Results, shown: Sequence[Section]) -> str:
    """Return the page: no script, nothing loaded from elsewhere."""
    return _TEMPLATES.get_template("page.html").render(
        title=shown[0].title,
        machine=results.run.machine_title,
        run=results.run,
        headline=shown[0].sentences[0],
        sections=[(each, _groups(each.tables)) for each in shown],
        closing=conditions.tables_of(results),
        as_html=tables.html,
    )


def markdown(results: Results, shown: Sequence[Section]) -> str:
    """Return the report as Markdown, with every table."""
    parts = [f"# {shown[0].title}", f"{markdown_text(results.run.machine_title)}."]
    for number, each in enumerate(shown):
        parts += [] if number == 0 else [f"## {each.title}"]
        parts += map(markdown_text, each.sentences)
        parts += [f"![{plot.title}]({plot.file})" for plot in each.plots]
        for under, group in _groups(each.tables):
            parts += [f"## {under}"] if under else []
            for table in group:
                heading = "###" if under else "##"
                parts += [f"{heading} {table.title}", tables.markdown(table.frame)]
    for table in conditions.tables_of(results):
        parts += [f"## {table.title}", tables.markdown(table.frame)]
    return "\n\n".join(parts) + "\n"


def _groups(found: Sequence[Table]) -> list[tuple[str, list[Table]]]:
    """Return the tables of the page, those under one heading together."""
    shown = [table for table in found if table.page and not table.frame.empty]
    return [(under, list(group)) for under, group in groupby(shown, attrgetter("under"))]
