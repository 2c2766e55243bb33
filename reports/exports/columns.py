"""What each column of a run's rows means: one table, from which the documentation is written."""

from __future__ import annotations

from collections.abc import Mapping

from crossover.reports.metrics import METRICS

_ENDS = {"_low": "lower end of the 95 % interval of", "_high": "upper end of the 95 % interval of"}
_INTERVALS = "time_s", "speedup", "speedup_inside"
#: Of the problem and the kernel: (unit, meaning) by column.
_DESCRIBED: Mapping[str, tuple[str, str]] = {
    "series": ("name", "visits of one series are pooled, and no others"),
    "problem_id": ("hash", "the workload in its setting"),
    "workload_id": ("hash", "the workload alone: what machines are compared by"),
    "network": ("name", "a network, or a group of matrices"),
    "network_sparsity": ("share", "sparsity of the whole network, as asked for"),
    "pattern": ("name", "how W got its zeros"),
    "scope": ("name", "pruned over all layers together (global), or each by itself (layer)"),
    "accuracy": ("share", "of the network at that sparsity, on the test set"),
    "layer": ("name", "the layer, or the shape of a matrix"),
    "layer_index": ("number", "place of the layer in its network"),
    "computes": ("name", "forward, backward_input, backward_weight, or step"),
    "dtype": ("name", "type of the numbers"),
    "threads": ("threads", "how many threads every kernel gets"),
    "caches": ("name", "hot: operands stay in the caches; cold: they are emptied before a call"),
    "idle_threads": ("name", "what a library's threads do between its calls"),
    "m": ("outputs", "rows of W"),
    "k": ("inputs", "columns of W"),
    "batch": ("images", "images of a call"),
    "n": ("columns", "columns of X: more than images where a convolution was lowered"),
    "nnz": ("entries", "stored nonzeros of W"),
    "sparsity": ("share", "1 - nnz / (m k) of this layer"),
    "zeros_x": ("share", "zeros in X"),
    "zeros_dy": ("share", "zeros in dY"),
    "useful_flops": ("operations", "on stored weights"),
    "executed_flops": ("operations", "on all weights, zeros too"),
    "side_bytes": ("bytes", "X or dY, and the result"),
    "kernel": ("name", "the kernel; stable"),
    "title": ("text", "the kernel in words"),
    "device": ("name", "cpu or cuda"),
    "format": ("name", "of the operand"),
    "role": ("name", "ours, peer, dense, or masked dense"),
    "runtime": ("name", "what runs its threads"),
    "stores_zeros": ("boolean", "whether the operand holds the zeros of W"),
    "arithmetic": ("name", "of products and sums of float32"),
    "status": ("name", "measured, skipped, failed, or wrong"),
    "reason": ("text", "why it was not measured"),
    "visits": ("visits", "races over the problem in which it was measured"),
    "sparse": ("boolean", "whether the operand leaves zeros of W out"),
    "speedup_fastest": ("×", "speedup of the problem's fastest sparse kernel, whoever that was: "
                        "chosen by other visits than those that it is judged by"),
}  # fmt: skip
_BYTES = "dense", "csr", "csc", "bsr", "sell", "masked dense", "2:4"


def _columns() -> dict[str, tuple[str, str]]:
    found = dict(_DESCRIBED)
    found |= {f"{name}_bytes": ("bytes", f"W stored as {name}") for name in _BYTES}
    found |= {metric.name: (metric.unit, metric.description) for metric in METRICS}
    for name in (*_INTERVALS, "speedup_fastest"):
        unit, _ = found[name]
        found |= {f"{name}{end}": (unit, f"{words} {name}") for end, words in _ENDS.items()}
    return found


#: (unit, meaning) by column.
COLUMNS: Mapping[str, tuple[str, str]] = _columns()


def documentation() -> str:
    """Return the page that documents every metric and column, as Markdown."""
    parts = [
        "# What the figures mean",
        "Written by `nox -s gallery` from the tables in `reports/metrics.py` and "
        "`reports/exports/columns.py`. The same words stand on every report's page, where a "
        "column's title is pointed at.",
        "## Metrics",
        "Of a kernel in a problem. Those marked ⚠ on a page have a warning about how they were "
        "timed. Times are seconds, shares are in 0 to 1; pages write them with units.",
        _table(("metric", "column", "unit", "better", "meaning"),
               [(m.title, f"`{m.name}`", m.unit, m.better, m.description) for m in METRICS]),
        "## Columns",
        "Of `results.csv`, `results.parquet` and `rows` of `--json`: one row per series, problem "
        "and kernel.",
        _table(("column", "unit", "meaning"),
               [(f"`{name}`", unit, text) for name, (unit, text) in COLUMNS.items()]),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _table(head: tuple[str, ...], lines: list[tuple[str, ...]]) -> str:
    rows = [head, tuple("---" for _ in head), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
