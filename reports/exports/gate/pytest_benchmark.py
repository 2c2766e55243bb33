"""One version's times as pytest-benchmark saves them, for its ``compare``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from crossover.bench.gate.comparison import Comparison
    from crossover.bench.gate.quantities import Cell
    from crossover.bench.gate.statistics import Levels

Side = Literal["base", "head"]
#: The suite's test whose cases the exported ones are: see ``bench/test_benchmarks.py``.
TEST = "bench/test_benchmarks.py::test_kernel"


def content(found: Comparison, side: Side, machine: Mapping[str, Any]) -> dict[str, Any]:
    """Return one version's times as pytest-benchmark saves them."""
    version = found.base if side == "base" else found.head
    return {
        "machine_info": {
            "node": "",
            "processor": "",
            "machine": machine["architecture"],
            "python_implementation": "CPython",
            "python_version": found.versions.get("python", ""),
            "system": machine["system"],
            "cpu": {"brand_raw": machine["cpu"], "count": machine["cores"]},
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
        "datetime": datetime.now(UTC).isoformat(),
        "version": "5.1.0",
    }


def seconds(levels: Levels, side: Side) -> list[float]:
    """Return one version's seconds per call, a value a visit."""
    return [
        float(np.exp(head if side == "head" else (base + control) / 2))
        for _, base, control, head in levels.visits
    ]


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
