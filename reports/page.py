"""The report of a run: one self-contained HTML page, Markdown, CSV and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

from crossover.bench.errors import InputError
from crossover.bench.records.files import write_whole
from crossover.reports import conditions, metrics
from crossover.reports.exports import tidy
from crossover.reports.exports.html import html
from crossover.reports.exports.markdown import PLOTS, markdown
from crossover.reports.results import Results
from crossover.reports.sections import Document, Section, plain
from crossover.reports.views import (
    experiments,
    gate,
    peers,
    plan,
    regret,
    scaling,
    search,
    selfcheck,
    serving,
    step,
    sweep,
)

#: Every view, in the order of the page.
VIEWS: Mapping[str, Callable[[Results], Section | None]] = {
    "sweep": sweep.section,
    "search": search.section,
    "plan": plan.section,
    "serve-check": serving.section,
    "peers": peers.section,
    "step": step.section,
    "scaling": scaling.section,
    "regret": regret.section,
    **experiments.VIEWS,
    "selfcheck": selfcheck.section,
    "gate": gate.section,
}
#: Of the JSON, which ``schema.json`` beside this file describes.
SCHEMA_VERSION = 1


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
    """Write the page, the Markdown with its plots, and every row to ``folder``; return the paths.

    Each file is written whole or left as it was.

    Raises:
        InputError: if a file cannot be written, or there is nothing to show.
    """
    shown = document(results, sections(results))
    rows = metrics.rows(results)
    contents: dict[str, str | bytes] = {
        "report.html": html(shown),
        "report.md": markdown(shown),
        "results.csv": tidy.csv(rows),
    }
    if tidy.has_parquet():
        contents["results.parquet"] = tidy.parquet(rows)
    contents |= {f"{PLOTS}/{plot.file}": plot.svg for plot in shown.plots}
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


def document(results: Results, shown: Sequence[Section]) -> Document:
    """Return the report of a run."""
    run = results.run
    return Document(
        title=shown[0].title,
        about=f"{run.machine_title} · measured {run.started[:10]} · commit {run.revision}",
        answers=shown[0].sentences,
        sections=shown,
        closing=conditions.parts_of(results),
        footer="Raw samples: results.sqlite. All figures: results.csv. MNIST by Yann LeCun and "
        "Corinna Cortes, CC BY-SA 3.0.",
    )
