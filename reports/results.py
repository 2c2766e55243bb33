"""What is shown: one run of a results folder, read once and as it was stored."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from crossover.bench.machine.limits import CpuLimits, CudaLimits, limits_of
from crossover.bench.records.rows import KernelRecord, Run, StudyRecord, Visit
from crossover.bench.records.store import FILE_NAME, Store
from crossover.bench.statistics import warnings
from crossover.bench.statistics.comparison import Contest, Measurement, contests


# Compared by identity, so that what is computed from it can be kept for the next view.
@dataclass(frozen=True, eq=False)
class Results:
    """One run: its conditions, what was asked, and every visit."""

    run: Run
    kernels: dict[str, KernelRecord]
    #: Oldest first.
    studies: list[StudyRecord]
    #: Visits in the order of time, by series: only visits of one series are pooled.
    series: dict[str, list[Visit]]

    def limits(self, device: str, threads: int) -> CpuLimits | CudaLimits | None:
        """Return what the machine was measured to do at best; None where that is not known."""
        key = device, threads
        if key not in self._limits:
            self._limits[key] = limits_of(self.run.ceilings, device, threads)
        return self._limits[key]

    @cached_property
    def _limits(self) -> dict[tuple[str, int], CpuLimits | CudaLimits | None]:
        return {}

    @cached_property
    def _contests(self) -> dict[str, list[Contest]]:
        return {}

    def contests_of(self, series: str) -> list[Contest]:
        """Return the contest of each problem of a series."""
        if series not in self._contests:
            self._contests[series] = contests(self.series[series], self.kernels)
        return self._contests[series]

    def asked(self, study: str) -> list[StudyRecord]:
        """Return what was asked of a study, oldest first."""
        return [each for each in self.studies if each.study == study]

    def series_of(self, study: str | None = None) -> list[str]:
        """Return the series that hold visits of a study, or of any, each once."""
        asked = self.studies if study is None else self.asked(study)
        names = dict.fromkeys(each.series for each in asked)
        return [name for name in names if self.series.get(name)]

    def visits_of(self, study: str) -> list[Visit]:
        """Return the visits of a study, each once."""
        return [visit for name in self.series_of(study) for visit in self.series[name]]

    @cached_property
    def usual_canary_s(self) -> warnings.UsualCanary:
        """Return what each part of the canary usually takes in the run, by number of threads."""
        return warnings.usual_canary_s(visit for each in self.series.values() for visit in each)

    def warnings_of(self, measurement: Measurement) -> tuple[str, ...]:
        """Return the names of the warnings about a kernel's times in a problem."""
        machine = self.run.machine
        return tuple(
            warnings.of_measurement(
                measurement, self.usual_canary_s, machine["cores"], machine.get("vendor", "")
            )
        )


def load(place: Path, run_id: str | None = None) -> Results:
    """Return the run called ``run_id`` in a folder or a file, by default that measured last.

    Raises:
        InputError: if there is no such run, or the file cannot be read.
    """
    store = Store(place if place.is_file() else place / FILE_NAME, readonly=True)
    # What is read stays until the end: to look for garbage in it, again and again, takes as long
    # as all else.
    gc.disable()
    try:
        run = store.run(run_id)
        series: dict[str, list[Visit]] = {}
        for visit in store.visits(run.run_id):
            series.setdefault(visit.record.series, []).append(visit)
        return Results(run, store.kernels(run.run_id), store.studies(run.run_id), series)
    finally:
        store.close()
        gc.freeze()
        gc.enable()
