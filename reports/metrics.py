"""Every figure of a measured row: one table that computes, formats and documents them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Literal

import pandas as pd

from crossover.bench.records.rows import KernelRecord, ProblemRecord, Visit
from crossover.bench.statistics import rates
from crossover.bench.statistics.comparison import Contest
from crossover.bench.statistics.contenders import fastest_speedups
from crossover.bench.statistics.intervals import NOTHING, Interval
from crossover.reports import tables
from crossover.reports.grids import Column
from crossover.reports.results import Results
from crossover.reports.subjects import Subject, subjects

_NAN = float("nan")
# What the columns of an interval end in.
_ENDS = "_low", "", "_high"
# The columns that even a frame without rows has.
_KNOWN = ["problem_id", "kernel", "status", "reason", "warnings"]
Value = float | str | Interval


@dataclass(frozen=True)
class Metric:
    """One figure of a measured row."""

    name: str
    title: str
    unit: str
    better: Literal["less", "more", "neither"]
    description: str
    compute: Callable[[Subject], Value]
    #: How it is written: a key of :data:`tables.WRITERS`.
    kind: str = "number"
    #: Whose warnings mark it: those of the columns of these names.
    marked_by: tuple[str, ...] = ()

    def columns(self, shown: Sequence[Subject]) -> dict[str, list[float | str]]:
        """Return its raw values: of an interval the median, and both ends beside it."""
        values = [self.compute(subject) for subject in shown]
        intervals = [each for each in values if isinstance(each, Interval)]
        if not intervals:
            return {self.name: [each for each in values if not isinstance(each, Interval)]}
        return {
            self.name: [each.median for each in intervals],
            f"{self.name}_low": [each.low for each in intervals],
            f"{self.name}_high": [each.high for each in intervals],
        }

    def cell(self, row: Mapping[Any, Any]) -> str:
        """Return it as a table shows it, from its raw values, marked where there is a warning."""
        write = tables.WRITERS[self.kind]
        if f"{self.name}_low" in row:
            text = tables.interval(tables.interval_in(row, self.name), write)
        else:
            text = write(row[self.name])
        return tables.marked(text, *(row[name] for name in self.marked_by))


def _median(values: Sequence[float]) -> float:
    return float(statistics.median(values)) if values else _NAN


def _median_of_visits(values: Sequence[Sequence[float]]) -> float:
    return _median([statistics.median(each) for each in values])


def _most(values: Sequence[float]) -> float:
    return float(max(values, default=_NAN))


def _executed_gflops(it: Subject) -> float:
    if not it.measurement.kernel.stores_zeros:
        return _NAN
    return rates.gflops(it.problem.executed_flops, it.time.median)


def _roofline(it: Subject) -> float:
    return rates.roofline_fraction(it.limits, *it.measurement.work, it.time.median)


def _break_even(it: Subject) -> float:
    prepare_s = _median(it.over(lambda row: row.prepare_s))
    if not it.measurement.leaves_out or math.isnan(it.speedup.median + prepare_s):
        return _NAN
    seconds = it.time.median
    return rates.break_even_calls(prepare_s, seconds * it.speedup.median, seconds)


_OWN, _BOTH = ("warnings",), ("warnings", "baseline_warnings")

METRICS: tuple[Metric, ...] = (
    Metric("time_s", "time", "s", "less",
           "median over visits of the median time of a call, on a GPU of the device's own time; "
           "with its 95 % interval",
           lambda it: it.time, "seconds", _OWN),
    Metric("call_s", "call from the host", "s", "less",
           "on a GPU, time of a call as the host sees it",
           lambda it: _median_of_visits(it.over(lambda row: row.call_samples)), "seconds",
           _OWN),
    Metric("replay_s", "in a CUDA graph", "s", "less",
           "on a GPU, time of a call in a replayed graph",
           lambda it: _median_of_visits(it.over(lambda row: row.replay_samples)), "seconds",
           _OWN),
    Metric("speedup", "speedup", "×", "more",
           "time of the baseline over the kernel's, paired within visits; with its 95 % interval, "
           "which is not corrected for how many intervals there are: of a hundred, five miss",
           lambda it: it.speedup, "times", _BOTH),
    Metric("speedup_inside", "speedup of passes and updates", "×", "more",
           "of a training step on a CPU: the same of the time inside the kernel alone",
           lambda it: it.inside, "times", _BOTH),
    Metric("baseline", "baseline", "kernel", "neither",
           "what the speedup is over: the fastest dense kernel of the same device and arithmetic "
           "(of a training step: the fastest masked dense one)",
           lambda it: it.baseline.kernel.name if it.baseline else "", "text"),
    Metric("baseline_s", "time of the baseline", "s", "neither",
           "median over visits of the median time of the baseline's calls",
           lambda it: it.baseline.time_s if it.baseline else _NAN, "seconds",
           ("baseline_warnings",)),
    Metric("baseline_of_bound", "baseline, of its bound", "share", "more",
           "least time of a call like the baseline's, an empty call included, over its time; below "
           "half a speedup is marked as over a weak baseline",
           lambda it: it.baseline_of_bound, "share"),
    Metric("useful_gflops", "useful GFLOP/s", "GFLOP/s", "more",
           "rate of work on stored weights",
           lambda it: rates.gflops(it.problem.useful_flops, it.time.median), marked_by=_OWN),
    Metric("executed_gflops", "executed GFLOP/s", "GFLOP/s", "more",
           "rate of all work of a kernel that stores zeros",
           _executed_gflops, marked_by=_OWN),
    Metric("roofline", "of roofline", "share", "more",
           "least time for its work and compulsory bytes at this machine's measured limits, over "
           "the time",
           _roofline, "share", _OWN),
    Metric("break_even_calls", "conversion repaid after", "calls", "less",
           "calls that repay the conversion, against the baseline",
           _break_even, "calls", _BOTH),
    Metric("nbytes", "operand bytes", "bytes", "less",
           "size of the operand that W was converted to",
           lambda it: _most(it.over(lambda row: row.nbytes)), "count"),
    Metric("stored_entries", "stored entries", "entries", "less",
           "weights that the operand holds, zeros included",
           lambda it: _most(it.over(lambda row: row.stored_entries)), "count"),
    Metric("prepare_s", "conversion", "s", "less",
           "time to convert W to the operand (on a GPU: and to move it there)",
           lambda it: _median(it.over(lambda row: row.prepare_s)), "seconds"),
    Metric("restore_s", "back to dense", "s", "less",
           "time to convert the operand back to a dense W",
           lambda it: _median(it.over(lambda row: row.restore_s)), "seconds"),
    Metric("first_call_s", "first call", "s", "less",
           "slowest first call of a visit, compilation included",
           lambda it: _most(it.over(lambda row: row.first_call_s)), "seconds"),
    Metric("compile_s", "compilation", "s", "less",
           "time of all that was compiled for the kernel; 0 where a cache on disk had the code",
           lambda it: _most(it.over(lambda row: row.compile_s)),
           "nonzero seconds"),
    Metric("relative_error", "relative error", "1", "less",
           "largest error over the largest value of the float64 reference",
           lambda it: _most(it.over(lambda row: row.relative_error)), "scientific"),
    Metric("share_of_bound", "of error bound", "share", "less",
           "largest error over what rounding may cost; above 1 a result counts as wrong",
           lambda it: _most(it.over(lambda row: row.share_of_bound)), "scientific"),
    Metric("warnings", "warnings", "names", "less",
           f"what is wrong with how it was timed; its figures are marked {tables.MARK}",
           lambda it: tables.SEPARATOR.join(it.warnings), "text"),
    Metric("baseline_warnings", "warnings about the baseline", "names", "less",
           "the same of the baseline: they mark the speedup",
           lambda it: tables.SEPARATOR.join(it.baseline_warnings), "text"),
)  # fmt: skip


def measured(results: Results, found: Sequence[Contest], role: str | None = None) -> pd.DataFrame:
    """Return a row per problem and kernel: the fields of both, and every metric.

    Speedups are over the fastest kernel of ``role``, by default as :func:`subjects` has it;
    ``sparse`` says whether the operand leaves zeros out; ``speedup_fastest`` is that of the
    problem's fastest sparse kernel, whoever it was. W's bytes in each format have columns, too.
    """
    shown = subjects(results, found, role)
    if not shown:
        return pd.DataFrame(columns=_KNOWN)
    fastest = fastest_speedups(found, role or "dense")
    described = {id(each.problem): _problem(each.problem) for each in shown}
    kernels = {each.measurement.kernel.name: _kernel(each.measurement.kernel) for each in shown}
    # Column by column: a frame from a dictionary per row takes as long as all that is computed.
    columns: dict[str, list[Any]] = _columns([described[id(each.problem)] for each in shown])
    columns |= _columns([kernels[each.measurement.kernel.name] for each in shown])
    columns |= {
        "status": ["measured"] * len(shown),
        "reason": [""] * len(shown),
        "visits": [len(each.measurement.visits) for each in shown],
        "sparse": [each.measurement.leaves_out for each in shown],
    }
    best = [fastest.get((e.problem.problem_id, e.measurement.kernel.device)) for e in shown]
    columns |= _columns([_fastest(each) for each in best])
    for metric in METRICS:
        columns |= metric.columns(shown)
    return pd.DataFrame(columns)


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return mappings as columns; what one of them lacks is not known."""
    names = dict.fromkeys(name for row in {id(row): row for row in rows}.values() for name in row)
    return {name: [row.get(name, _NAN) for row in rows] for name in names}


def not_measured(results: Results, visits: Sequence[Visit]) -> pd.DataFrame:
    """Return a row per problem and kernel that was not measured in its last visit, and why."""
    latest = {
        (visit.problem.problem_id, name): (visit.problem, row)
        for visit in visits
        for name, row in visit.rows.items()
    }
    return pd.DataFrame(
        [
            _problem(problem)
            | (_kernel(results.kernels[name]) if name in results.kernels else {"kernel": name})
            | {"status": row.status, "reason": row.reason}
            for (_, name), (problem, row) in latest.items()
            if row.status != "measured"
        ]
    )


@lru_cache(maxsize=64)
def of_series(results: Results, series: str, role: str | None = None) -> pd.DataFrame:
    """Return :func:`measured` of a series, computed once."""
    return measured(results, results.contests_of(series), role)


def of_study(results: Results, study: str, role: str | None = None) -> pd.DataFrame:
    """Return :func:`measured` of a study that has visits; series are not pooled."""
    parts = [of_series(results, name, role) for name in results.series_of(study)]
    return parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)


@lru_cache(maxsize=8)
def rows(results: Results, study: str | None = None) -> pd.DataFrame:
    """Return every row of a study, or of all, measured or not; ``series`` says which are pooled."""
    parts = [
        frame.assign(series=name)
        for name in results.series_of(study)
        for frame in (of_series(results, name, None), not_measured(results, results.series[name]))
        if len(frame)
    ]
    found = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    # Where nothing was measured, columns are missing that others look at.
    return found.reindex(columns=list(dict.fromkeys([*found, *_KNOWN])), fill_value="")


def fastest_sparse(frame: pd.DataFrame) -> pd.DataFrame:
    """Return, of :func:`measured` rows, the fastest sparse kernel of each problem and device.

    Only kernels count that met their baseline. The speedup is not the kernel's own, but that of
    whoever was the fastest in the other visits: to be chosen for it must not make it look better.
    """
    if frame.empty:
        return frame
    found = frame[frame["sparse"].astype(bool) & frame["speedup"].notna()]
    found = found.loc[found.groupby(["problem_id", "device"], sort=False)["time_s"].idxmin()]
    known = found["speedup_fastest"].notna()
    columns = {
        f"speedup{end}": found[f"speedup_fastest{end}"].where(known, found[f"speedup{end}"])
        for end in _ENDS
    }
    return found.assign(**columns)


def warnings_in(found: Sequence[Mapping[Any, Any]]) -> tuple[str, ...]:
    """Return the warnings that speedups of :func:`measured` rows rest on, each once."""
    texts = [row[column] for row in found for column in _BOTH]
    names = [name for text in texts for name in text.split(tables.SEPARATOR) if name]
    return tuple(dict.fromkeys(names))


def columns(frame: pd.DataFrame) -> list[Column]:
    """Return a grid's column per metric that ``frame`` has a value of, and what each means."""
    return [
        Column(m.name, m.title, m.kind, f"{m.description} ({m.unit})", m.marked_by)
        for m in METRICS
        if m.name in frame and ((frame[m.name] != "") & frame[m.name].notna()).any()
    ]


def glossary() -> tables.Table:
    """Return what each column of a table of kernels means."""
    lines = [
        {"column": m.title, "in results.csv": m.name, "unit": m.unit, "better": m.better,
         "meaning": m.description}
        for m in METRICS
    ]  # fmt: skip
    return tables.Table.of("What the figures mean", lines)


def _fastest(speedup: Interval | None) -> dict[str, float]:
    known = speedup or NOTHING
    return {
        f"speedup_fastest{end}": value
        for end, value in zip(_ENDS, (known.low, known.median, known.high), strict=True)
    }


def _problem(problem: ProblemRecord) -> dict[str, Any]:
    left_out = {"recipe", "format_bytes"}
    values = {f.name: getattr(problem, f.name) for f in fields(problem) if f.name not in left_out}
    return values | {f"{name}_bytes": size for name, size in problem.format_bytes.items()}


def _kernel(kernel: KernelRecord) -> dict[str, Any]:
    shown = "title", "device", "format", "role", "runtime", "stores_zeros", "arithmetic"
    return {"kernel": kernel.name} | {name: getattr(kernel, name) for name in shown}
