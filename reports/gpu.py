"""The README of a GPU run: what was checked and measured, and what was not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from crossover.bench import machine
from crossover.bench.gpu_findings import Checks
from crossover.bench.records import Run
from crossover.bench.store import FILE_NAME, Store
from crossover.bench.whole_files import write_whole
from crossover.reports import page, tables, targets
from crossover.reports.tables import seconds
from crossover.reports.targets import Target


@dataclass(frozen=True)
class Findings:
    """What came of a run: the targets, and how many rows were measured."""

    targets: list[Target]
    rows: int


def write(folder: Path, checks: Checks) -> Findings:
    """Write ``README.md``, and the report where anything was timed; return the findings.

    Raises:
        InputError: if a file cannot be written.
    """
    store = Store(folder / FILE_NAME)
    known = store.has_run(checks.run_id)
    run = store.run(checks.run_id) if known else None
    rows = store.frame(checks.run_id)
    store.close()
    measured = rows[rows["status"] == "measured"]
    ceilings = tables.ceilings_from("cuda", run.ceilings["cuda"]) if run else None
    found = targets.targets(measured, ceilings)  # type: ignore[arg-type]
    write_whole(folder / "README.md", readme(run, checks, rows, found))
    if len(measured):
        page.write(page.load(folder, checks.run_id), folder)
    return Findings(found, len(measured))


def readme(run: Run | None, checks: Checks, rows: pd.DataFrame, found: list[Target]) -> str:
    """Return the README as Markdown."""
    measured = rows[rows["status"] == "measured"]
    parts = [
        f"# {machine.title(run.machine) if run else 'A GPU'}",
        _summary(checks, measured),
        _section("Targets", target_table(found)),
        _section("Correctness at real sizes", contract_table(checks)),
        _section(
            "Wrong, or broke", pd.DataFrame(checks.wrong, columns=["where", "kernel", "reason"])
        ),
        _section("Training on the GPU", _training(checks)),
        _section("Conversions", _conversions(checks)),
        *(
            _section(
                f"Crossover of the fastest sparse kernel over {dense}", _crossed(measured, dense)
            )
            for dense in (targets.DENSE_FP32, targets.DENSE_TF32, targets.DENSE_FP16)
        ),
        _section("Not run", _not_run(checks, rows)),
        _section("Left out for time", _left_out(checks)),
        _section("Conditions", _conditions(run)),
    ]
    return "\n\n".join(parts) + "\n"


def target_table(found: list[Target]) -> pd.DataFrame:
    """Return the targets, with the measured value or that there is none."""
    words = targets.reached_words(found)
    return pd.DataFrame(
        [
            {"what": each.name, "target": each.target, "measured": each.measured, "": word}
            for each, word in zip(found, words, strict=True)
        ]
    )


def contract_table(checks: Checks) -> pd.DataFrame:
    """Return per kernel on how many shapes it was right, wrong, broke or was not asked."""
    counts: dict[str, Counter[str]] = {}
    remarks: dict[str, Counter[str]] = {}
    for shape in checks.examined.values():
        for name, found in shape.items():
            counts.setdefault(name, Counter())[found["status"]] += 1
            remarks.setdefault(name, Counter()).update(found["remarks"])
    return pd.DataFrame(
        [
            {
                "kernel": name,
                "right": f"{count['measured']}",
                "wrong": f"{count['wrong']}",
                "broke": f"{count['failed']}",
                "does not apply": f"{count['skipped']}",
                "remarks": "; ".join(f"{text} ({n} shapes)" for text, n in remarks[name].items()),
            }
            for name, count in counts.items()
        ]
    )


def _summary(checks: Checks, measured: pd.DataFrame) -> str:
    examined = sum(len(shape) for shape in checks.examined.values())
    left = sum(len(titles) for titles in checks.left_out.values())
    return (
        f"Written by `gpu-check` in {checks.seconds:.0f} s: {examined} examinations of kernels on "
        f"{len(checks.examined)} shapes (operands of seed {checks.seed}), {len(measured)} rows "
        f"timed, {len(checks.wrong)} wrong or broken, {left} parts left out for time. Every figure "
        "is of this machine, in this run; raw samples are in results.sqlite, all rows in "
        "results.csv, the full report in report.md."
    )


def _training(checks: Checks) -> pd.DataFrame:
    lines = [
        {
            "kernel": name,
            "": "right" if found["status"] == "measured" else found["status"],
            "found": found["reason"] or "; ".join(found["remarks"]),
        }
        for name, found in checks.trained.items()
    ]
    return pd.DataFrame(lines)


def _conversions(checks: Checks) -> pd.DataFrame:
    lines = [
        {
            "conversion": each["name"],
            "time": seconds(each["seconds"]),
            "of dense bytes": f"{each['nbytes'] / each['seconds'] / 1e9:.1f} GB/s",
            "round trip": "exact" if each["exact"] else "NOT exact",
        }
        for each in checks.conversions
    ]
    return pd.DataFrame(lines)


def _crossed(measured: pd.DataFrame, dense: str) -> pd.DataFrame:
    lines = [
        {
            "group": row.network,
            "layer": row.layer,
            "batch": f"{row.batch}",
            "pass": row.pass_,
            "caches": row.temperature,
            "crossover (95 %)": str(row.crossover),
            "speedup at the highest sparsity": f"{row.speedup:.2f} × at {tables.percent(row.top)}",
        }
        for row in targets.crossovers(measured, dense).itertuples()
    ]
    return pd.DataFrame(lines)


def _not_run(checks: Checks, rows: pd.DataFrame) -> pd.DataFrame:
    lines = [
        {"kernel": name, "cells": "all", "reason": reason} for name, reason in checks.absent.items()
    ]
    others = rows[rows["status"] != "measured"]
    counts = others.groupby(["kernel", "status", "reason"], sort=False).size()
    lines += [
        {"kernel": kernel, "cells": f"{count} {status}", "reason": reason}
        for (kernel, status, reason), count in counts.items()
    ]
    return pd.DataFrame(lines)


def _left_out(checks: Checks) -> pd.DataFrame:
    lines = [
        {"stage": stage, "how many": f"{len(titles)}", "which": "; ".join(titles)}
        for stage, titles in checks.left_out.items()
    ]
    return pd.DataFrame(lines)


def _conditions(run: Run | None) -> pd.DataFrame:
    if run is None:
        return pd.DataFrame()
    found: dict[str, Any] = {**run.machine, **run.versions, "commit": run.revision}
    found |= {"started": run.started, "command": run.command, "run": run.run_id}
    for key, ceilings in run.ceilings.items():
        found |= tables.ceiling_lines(tables.ceilings_from(key, ceilings))
    return pd.DataFrame([{"what": what, "value": str(v)} for what, v in found.items() if v])


def _section(title: str, frame: pd.DataFrame) -> str:
    body = "None." if frame.empty else str(frame.to_markdown(index=False))
    return f"## {title}\n\n{body}"
