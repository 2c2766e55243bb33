"""What a gate found, for other tools: each in the format that the tool itself documents.

pytest-benchmark compares two files, so base and head get one each; the rest is of head.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np

from crossover.bench import machine
from crossover.bench.gate.comparison import Comparison
from crossover.bench.gate.preset import Cell
from crossover.bench.gate.statistics import Levels
from crossover.bench.gate.verdicts import Finding
from crossover.bench.whole_files import write_whole
from crossover.reports import asv
from crossover.reports.gate import change, level, markdown

Side = Literal["base", "head"]
#: The suite's test whose cases the exported ones are: see ``bench/test_benchmarks.py``.
TEST = "bench/test_benchmarks.py::test_kernel"


def write(found: Comparison, folder: Path) -> list[Path]:
    """Write every format to ``folder``, and return the paths; each file whole or not at all.

    Raises:
        InputError: if a file cannot be written.
    """
    files: dict[str, str] = {
        "summary.md": markdown(found),
        "junit.xml": junit(found),
        "pytest-benchmark-base.json": _json(pytest_benchmark(found, "base")),
        "pytest-benchmark-head.json": _json(pytest_benchmark(found, "head")),
        "github-action-benchmark.json": _json(github_action(found)),
        "bencher.json": _json(bencher(found)),
        **{f"asv/{name}": _json(content) for name, content in asv.files(found).items()},
    }
    for name, content in files.items():
        write_whole(folder / name, content)
    return [folder / name for name in files]


def junit(found: Comparison) -> str:
    """Return JUnit XML: a case per quantity, a failure where it is slower, an error if wrong."""
    suite = ET.Element("testsuite", name="crossover gate", tests=str(len(found.findings)))
    counts = {"failure": 0, "error": 0, "skipped": 0}
    kinds = {"slower": "failure", "wrong": "error", "new": "skipped", "gone": "skipped"}
    for each in found.findings:
        case = ET.SubElement(suite, "testcase", classname=each.metric, name=each.name, time="0")
        text = f"{each.verdict}: {change(each)} {each.note}".strip()
        if kind := kinds.get(each.verdict):
            counts[kind] += 1
            ET.SubElement(case, kind, message=text)
        else:
            ET.SubElement(case, "system-out").text = text
    suite.set("failures", str(counts["failure"]))
    suite.set("errors", str(counts["error"]))
    suite.set("skipped", str(counts["skipped"]))
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return ET.tostring(root, "unicode", xml_declaration=True) + "\n"


def pytest_benchmark(found: Comparison, side: Side) -> dict[str, Any]:
    """Return one version's times as pytest-benchmark saves them."""
    version = found.base if side == "base" else found.head
    now = datetime.now(UTC).isoformat()
    return {
        "machine_info": {
            "node": "",
            "processor": "",
            "machine": machine.identity()["architecture"],
            "python_implementation": "CPython",
            "python_version": found.versions.get("python", ""),
            "system": machine.identity()["system"],
            "cpu": {"brand_raw": machine.identity()["cpu"], "count": machine.identity()["cores"]},
        },
        "commit_info": {
            "id": version.commit.removesuffix("-dirty"),
            "time": version.committed_at,
            "dirty": version.commit.endswith("-dirty"),
            "project": "sparse-crossover",
            "branch": "(detached head)",
        },
        "benchmarks": [
            _benchmark(cell, seconds(levels, side)) for cell, levels in found.levels.items()
        ],
        "datetime": now,
        "version": "5.1.0",
    }


def seconds(levels: Levels, side: Side) -> list[float]:
    """Return one version's seconds per call, a value a round."""
    return [
        float(np.exp(head if side == "head" else (base + control) / 2))
        for _, base, control, head in levels.rounds
    ]


def github_action(found: Comparison) -> list[dict[str, Any]]:
    """Return head's figures for github-action-benchmark's ``customSmallerIsBetter``."""
    return [
        {
            "name": f"{each.metric}: {each.name}",
            "unit": _UNITS[each.metric],
            "value": each.head,
            "extra": f"{each.verdict}: {change(each)}, base {level(each, each.base)}",
            **({"range": f"± {_half_width(each):.3g}"} if each.low is not None else {}),
        }
        for each in found.findings
        if each.head is not None
    ]


def bencher(found: Comparison) -> dict[str, dict[str, Any]]:
    """Return head's figures in Bencher Metric Format: latency in nanoseconds."""
    content: dict[str, dict[str, Any]] = {}
    for each in found.findings:
        if each.head is None:
            continue
        slug, factor = _MEASURES[each.metric]
        half = _half_width(each)
        content.setdefault(each.name, {})[slug] = {
            "value": each.head * factor,
            "lower_value": (each.head - half) * factor,
            "upper_value": (each.head + half) * factor,
        }
    return content


_UNITS = {
    "time": "s", "conversion": "s", "compilation": "s", "memory": "bytes", "crossover": "sparsity",
}  # fmt: skip
#: Bencher's name of each measure, and what a figure is multiplied by for its unit.
_MEASURES = {
    "time": ("latency", 1e9),
    "conversion": ("conversion-latency", 1e9),
    "compilation": ("compilation-latency", 1e9),
    "memory": ("memory", 1.0),
    "crossover": ("crossover-sparsity", 1.0),
}


def _half_width(finding: Finding) -> float:
    """Return half the interval of the change, in the unit of the figure; 0 where it is exact."""
    if finding.low is None or finding.high is None or finding.base is None:
        return 0.0
    half = (finding.high - finding.low) / 2
    return half if finding.metric == "crossover" else half * finding.base


def _benchmark(cell: Cell, samples: list[float]) -> dict[str, Any]:
    name = f"test_kernel[{cell.name}]"
    return {
        "group": None,
        "name": name,
        "fullname": f"{TEST}[{cell.name}]",
        "params": {"cell": cell.name},
        "param": cell.name,
        "extra_info": {"digest": cell.digest, "kernel": cell.kernel, "sparsity": cell.sparsity},
        "options": {
            "disable_gc": False, "timer": "perf_counter", "min_rounds": 1,
            "max_time": 1.0, "min_time": 0.0, "warmup": True,
        },
        "stats": _statistics(samples),
    }  # fmt: skip


def _statistics(samples: list[float]) -> dict[str, Any]:
    """Return what pytest-benchmark keeps of samples, under its names."""
    values = np.sort(samples)
    q1, median, q3 = np.percentile(values, [25, 50, 75])
    iqr, mean = q3 - q1, values.mean()
    deviation = values.std(ddof=1) if len(values) > 1 else 0.0
    inside = values[(values >= q1 - 1.5 * iqr) & (values <= q3 + 1.5 * iqr)]
    far = int((np.abs(values - mean) > deviation).sum())
    figures: Mapping[str, Any] = {
        "min": values[0], "max": values[-1], "mean": mean, "stddev": deviation, "median": median,
        "iqr": iqr, "q1": q1, "q3": q3, "ld15iqr": inside[0], "hd15iqr": inside[-1],
        "ops": 1 / mean, "total": values.sum(),
    }  # fmt: skip
    outliers = len(values) - len(inside)
    return {name: float(value) for name, value in figures.items()} | {
        "rounds": len(values),
        "iterations": 1,
        "stddev_outliers": far,
        "iqr_outliers": outliers,
        "outliers": f"{far};{outliers}",
        "data": [float(each) for each in samples],
    }


def _json(content: Any) -> str:
    return json.dumps(content, indent=1) + "\n"
