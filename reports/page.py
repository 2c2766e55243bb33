"""Writing a report: Markdown, CSV and one self-contained HTML page, and its terminal summary."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from crossover.bench import display, machine
from crossover.bench.errors import InputError
from crossover.bench.store import FILE_NAME, Store
from crossover.bench.whole_files import write_whole
from crossover.reports import plots, tables
from crossover.reports.tables import Report, Table

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)


# A network at a sparsity: title, its layers, and its kernels by batch and pass.
_Section = tuple[str, pd.DataFrame, list[tuple[str, pd.DataFrame]]]


def load(folder: Path, run_id: str | None = None) -> Report:
    """Return the report on a run in ``folder``, by default the one measured last.

    Raises:
        InputError: if there is no such run.
    """
    path = folder / FILE_NAME
    if not path.exists():
        raise InputError(f"{folder} holds no {FILE_NAME}: measure with 'run --out {folder}' first")
    store = Store(path)
    try:
        chosen = run_id or store.latest_run()
        if chosen is None:
            raise InputError(f"{path} holds no measured row yet: run 'run --out {folder}' first")
        return tables.analyse(store.run(chosen), store.frame(chosen))
    finally:
        store.close()


def write(report: Report, folder: Path) -> list[Path]:
    """Write the page, the Markdown with its plots, and the CSV to ``folder``; return the paths.

    Each file is written whole or left as it was.

    Raises:
        InputError: if a file cannot be written.
    """
    drawn, sections = _plots(report), _sections(report)
    contents = {
        "report.html": html(report, drawn, sections),
        "report.md": markdown(report, drawn, sections),
        "results.csv": tables.flat(report).to_csv(index=False),
    } | {plot["file"]: plot["svg"] for plot in drawn}
    for name, content in contents.items():
        write_whole(folder / name, content, "free space, or use another --out")
    return [folder / name for name in contents]


def html(report: Report, drawn: list[dict[str, str]], sections: list[_Section]) -> str:
    """Return the page: no script, nothing loaded from elsewhere."""
    return _TEMPLATES.get_template("page.html").render(
        machine=machine.title(report.run.machine),
        run=report.run,
        headline=headline(report),
        crossovers=_html(tables.crossover_table(report)),
        kernel_crossovers=_html(tables.crossover_table(report, None)),
        networks=_html(tables.network_table(report)),
        plots=drawn,
        sections=[
            {
                "title": title,
                "layers": _html_frame(layers),
                "parts": [{"title": name, "kernels": _html_frame(frame)} for name, frame in parts],
            }
            for title, layers, parts in sections
        ],
        not_run=_html(tables.not_run_table(report)),
        doubts=_html(tables.flag_table(report)),
        conditions=_html(tables.machine_table(report)),
    )


def markdown(report: Report, drawn: list[dict[str, str]], sections: list[_Section]) -> str:
    """Return the report as Markdown, with every layer, batch and pass."""
    parts = [
        "# From which sparsity does a sparse kernel pay?",
        f"{machine.title(report.run.machine)}. {headline(report)}",
    ]
    for table in (
        tables.crossover_table(report),
        tables.network_table(report),
        tables.breakdown_table(report),
        tables.crossover_table(report, None),
    ):
        parts += [f"## {table.title}", _markdown(table.frame)]
    parts += ["## Speedup over sparsity", *(f"![{p['title']}]({p['file']})" for p in drawn)]
    for title, layers, kernels in sections:
        parts += [f"## {title}", _markdown(layers)]
        for name, frame in kernels:
            parts += [f"### {name}", _markdown(frame)]
    last = (tables.flag_table, tables.not_run_table, tables.machine_table)
    for table in (make(report) for make in last):
        parts += [f"## {table.title}", _markdown(table.frame)]
    return "\n\n".join(parts) + "\n"


def as_json(report: Report) -> str:
    """Return the run, the crossovers and every row as one JSON object."""
    crossovers = report.crossovers.copy()
    if len(crossovers):
        crossovers["answer"] = crossovers["crossover"].map(str)
        crossovers["crossover"] = crossovers["crossover"].map(asdict)
    content = {
        "run": asdict(report.run),
        "headline": headline(report),
        "crossovers": crossovers.to_dict("records"),
        "rows": json.loads(tables.flat(report).to_json(orient="records")),
    }
    return json.dumps(content, default=lambda value: value.item())


def headline(report: Report) -> str:
    """Return the finding in a sentence: the largest layer, forward, at the middle batch."""
    best = report.crossovers
    best = best[best["kernel"] == "fastest sparse"] if len(best) else best
    if not len(best):
        return "No sparse kernel was measured beside a dense one."
    forward = best[best["pass_"] == "forward"]
    chosen = forward if len(forward) else best
    chosen = chosen[chosen["batch"] == _middle(chosen["batch"])]
    row = chosen.loc[chosen["parameters"].idxmax()]
    where = f"on the {row.device.upper()}, {row.temperature}"
    return (
        f"{row.network} {row.layer} ({row['shape']}), batch {row.batch}, {row.pass_}, {where}: "
        f"sparse beats dense {_says(row.crossover)} (95 %); at "
        f"{100 * row.top_sparsity:.1f} % sparsity the speedup is {row.top_speedup:.2f} × "
        f"({row.top_kernel})."
    )


def summary(report: Report) -> None:
    """Print the breakdown of the forward pass, the crossovers, and what did not run."""
    console = display.output()
    console.print(machine.title(report.run.machine), style="bold")
    _print(tables.network_table(report))
    breakdown = tables.breakdown_table(report)
    frame = breakdown.frame
    if len(frame):
        passes, batch = frame["pass"].unique(), str(_middle(frame["batch"].astype(int)))
        pass_ = "forward" if "forward" in passes else passes[0]
        caches = frame["caches"].iloc[0]
        chosen = (frame["pass"] == pass_) & (frame["batch"] == batch) & (frame["caches"] == caches)
        part = frame[chosen]
        title = (
            f"{breakdown.title}: {pass_}, batch {batch}, {caches} (all others are in the report)"
        )
        _print(Table(title, part.drop(columns=["pass", "batch", "caches"])))
    _print(tables.crossover_table(report))
    _print(tables.not_run_table(report))
    _print(tables.flag_table(report))
    console.print(headline(report), style="bold")


def _middle(batches: Any) -> int:
    """Return the middle one of the batch sizes, each counted once."""
    each = sorted(set(batches))
    return int(each[len(each) // 2])


def _says(crossover: Any) -> str:
    return {
        "between": f"from {crossover} sparsity",
        "always": f"at every sparsity measured ({crossover})",
        "never": f"at no sparsity measured ({crossover})",
        "several": f"in more than one range ({crossover})",
        "open": f"from a sparsity that stayed {crossover}",
    }[crossover.kind]


def _plots(report: Report) -> list[dict[str, str]]:
    """Return an SVG per network, pass, device and number of threads."""
    found = []
    keys = ["network", "device", "threads", "temperature", "pass_"]
    for (name, device, threads, caches, pass_), rows in report.measured.groupby(keys, sort=False):
        if (rows["format"] == "dense").all() or not rows["speedup"].notna().any():
            continue
        where = f"CPU, {threads} threads" if device == "cpu" else "GPU"
        title = f"{name}, {tables.pass_title(pass_)}, {where}, {caches}"
        name = f"speedup-{name}-{device}-{threads}-{caches}-{pass_}.svg"
        svg = plots.speedup_over_sparsity(rows, title)
        found.append({"title": title, "file": name, "svg": svg})
    return found


def _sections(report: Report) -> list[_Section]:
    """Return a breakdown per network and sparsity."""
    sections = []
    for (name, sparsity, accuracy), rows in report.rows.groupby(
        ["network", "network_sparsity", "accuracy"], sort=False, dropna=False
    ):
        parts = []
        keys = ["threads", "temperature", "batch", "pass_"]
        for (threads, caches, batch, pass_), part in rows.groupby(keys, sort=False):
            title = f"batch {batch}, {tables.pass_title(pass_)}, {threads} threads, {caches}"
            parts.append((title, tables.kernel_table(report, part)))
        title = f"{name} at {tables.percent(sparsity)}"
        title += "" if pd.isna(accuracy) else f": test accuracy {100 * accuracy:.2f} %"
        sections.append((title, tables.layer_table(rows).frame, parts))
    return sections


def _html(table: Table) -> dict[str, str]:
    return {"title": table.title, "html": _html_frame(table.frame)}


def _html_frame(frame: pd.DataFrame) -> str:
    if frame.empty:
        return "<p>None.</p>"
    return str(frame.to_html(index=False, border=0, escape=True))


def _markdown(frame: pd.DataFrame) -> str:
    return "None." if frame.empty else str(frame.to_markdown(index=False))


def _print(table: Table) -> None:
    if not table.frame.empty:
        display.table(table.frame, table.title)
