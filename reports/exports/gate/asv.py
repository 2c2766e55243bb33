"""Head's times as asv keeps results: a folder that ``asv`` reads with its own configuration."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from crossover.bench.gate.comparison import Comparison
    from crossover.bench.gate.quantities import Cell
    from crossover.bench.gate.statistics import Levels

_MACHINE = "this"
_ENVIRONMENT = "gate"
# Of asv's files: results and benchmarks, and machines.
_RESULTS_VERSION, _MACHINE_VERSION = 2, 1


def files(found: Comparison, machine: Mapping[str, Any]) -> dict[str, Any]:
    """Return the contents of asv's files, by path."""
    commit = found.head.commit.removesuffix("-dirty")
    result = f"results/{_MACHINE}/{commit[:8]}-{_ENVIRONMENT}.json"
    return {
        "asv.conf.json": {
            "version": 1,
            "project": "sparse-crossover",
            "repo": "..",
            "results_dir": "results",
            "html_dir": "html",
            "benchmark_dir": "benchmarks",
        },
        f"results/{_MACHINE}/machine.json": _machine(machine),
        "results/benchmarks.json": {
            **{_name(cell): _benchmark(cell) for cell in found.levels},
            "version": _RESULTS_VERSION,
        },
        result: _results(found, commit, machine),
    }


def _results(found: Comparison, commit: str, machine: Mapping[str, Any]) -> dict[str, Any]:
    when = found.head.committed_at
    milliseconds = int(1000 * datetime.fromisoformat(when).timestamp()) if when else 0
    return {
        "commit_hash": commit,
        "env_name": _ENVIRONMENT,
        "date": milliseconds,
        "params": {**_machine(machine), "python": found.versions.get("python", "")},
        "python": found.versions.get("python", ""),
        "requirements": {},
        "env_vars": {},
        "result_columns": [
            "result", "params", "version", "started_at", "duration", "stats_ci_99_a",
            "stats_ci_99_b", "stats_q_25", "stats_q_75", "stats_number", "stats_repeat",
        ],
        "results": {
            _name(cell): _result(cell, levels, milliseconds)
            for cell, levels in found.levels.items()
        },
        "durations": {},
        "version": _RESULTS_VERSION,
    }  # fmt: skip


def _result(cell: Cell, levels: Levels, milliseconds: int) -> list[Any]:
    seconds = np.exp([head for _, _, _, head in levels.visits])
    low, q1, median, q3, high = np.percentile(seconds, [0.5, 25, 50, 75, 99.5])
    figures = [[float(each)] for each in (low, high, q1, q3)]
    head = [[float(median)], [], _version(cell), milliseconds, None]
    return [*head, *figures, [1], [len(seconds)]]


def _benchmark(cell: Cell) -> dict[str, Any]:
    return {
        "code": cell.name,
        "name": _name(cell),
        "param_names": [],
        "params": [],
        "pretty_name": cell.name,
        "type": "time",
        "unit": "seconds",
        "version": _version(cell),
        "timeout": 60.0,
    }


def _name(cell: Cell) -> str:
    """Return a name as asv has them: with dots, without spaces."""
    return f"gate.{cell.name.replace(' ', '_')}"


def _version(cell: Cell) -> str:
    return hashlib.sha256(cell.digest.encode()).hexdigest()


def _machine(known: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "arch": known["architecture"],
        "cpu": known["cpu"],
        "machine": _MACHINE,
        "num_cpu": str(known["cores"]),
        "os": known["system"],
        "ram": str(known["memory_gib"]),
        "version": _MACHINE_VERSION,
    }
