"""Studies conducted: the one loop that asks, measures, keeps, and tells the study."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from crossover.bench.harness.environment import in_fresh_process
from crossover.bench.harness.visits import Visitor, visiting
from crossover.bench.machine import ceilings, cuda_ceilings, identity
from crossover.bench.records.files import sole_writer
from crossover.bench.records.rows import Run, StudyRecord, Visit
from crossover.bench.records.store import FILE_NAME, LOCK_NAME, Store
from crossover.bench.studies.study import Progress, Report, Study, ignore
from crossover.bench.workloads.problem import identity as content_of
from crossover.kernels.cuda.device import cupy_unavailable

# Of a spec, what does not say what is asked.
_NOT_ASKED = {"budget_s", "time_limit_s", "again"}


@dataclass
class Conducted:
    """What was done."""

    run_id: str
    visits_made: int = 0
    visits_kept: int = 0
    #: Seconds of this invocation's visits, and of these the kernels' own.
    measuring_s: float = 0.0
    busy_s: float = 0.0
    rows_measured: int = 0
    interrupted: bool = False
    #: Visit and kernel of each wrong result of the studies, old and new.
    wrong: list[tuple[Visit, str]] = field(default_factory=list)

    def add(self, visit: Visit, made: bool) -> None:
        """Count a visit that was made now, or kept from before."""
        self.visits_made += made
        self.visits_kept += not made
        for name, row in visit.rows.items():
            self.rows_measured += row.status == "measured"
            if row.status == "wrong":
                self.wrong.append((visit, name))
        if made:
            self.measuring_s += visit.record.wall_s
            self.busy_s += sum(row.busy_s for row in visit.rows.values())


def conduct(
    studies: Sequence[Study],
    folder: Path,
    command: str,
    report: Report = ignore,
    again: bool = False,
) -> Conducted:
    """Conduct ``studies`` into ``folder``, one after the other, and return what was done.

    What was measured there under the same conditions is kept, and counts towards the budget; with
    ``again`` all is measured anew, as a run of its own. Ctrl-C ends it after the last whole visit.

    Raises:
        InputError: if what is asked is not possible, or the folder cannot be written.
    """
    with sole_writer(folder / LOCK_NAME, command), _store(folder) as store:
        run = _run(studies, store, again, report)
        done = Conducted(run.run_id)
        try:
            for study in studies:
                study.begin(report)
                store.add_kernels(run.run_id, list(study.declared.values()))
                store.add_study(study_record(study, run.run_id, command))
                _conduct_one(study, store, done, report)
        except KeyboardInterrupt:
            done.interrupted = True
        return done


def _conduct_one(study: Study, store: Store, done: Conducted, report: Report) -> None:
    left_s = study.spec.budget_s
    for kept in store.visits(done.run_id, study.series):
        if study.take(kept):
            done.add(kept, made=False)
            left_s -= _charged_s(kept)
    with visiting(study.source, study.time_limit_s, study.process_life_s) as visitor:
        while (made := _visit_next(study, visitor, done.run_id, left_s, report)) is not None:
            visit = store.add_visit(made)
            study.take(visit)
            done.add(visit, made=True)
            left_s -= _charged_s(visit)
    state = study.progress()
    report(Progress(state.phase, "done", state.total, state.total))


def _charged_s(visit: Visit) -> float:
    """Return what a visit costs the budget: all of its time but that of compiling."""
    compiled_s = sum(row.compile_s or 0.0 for row in visit.rows.values())
    return max(0.0, visit.record.wall_s - compiled_s)


def _visit_next(
    study: Study, visitor: Visitor, run_id: str, left_s: float, report: Report
) -> Visit | None:
    state = study.progress()
    report(state)
    task = study.next(left_s)
    if task is None:
        return None

    def report_share(share: float) -> None:
        report(replace(state, done=state.done + share * state.next_cost))

    return visitor.visit(task, run_id, study.series, report_share)


def study_record(study: Study, run_id: str, command: str) -> StudyRecord:
    """Return the record of what ``study`` asks."""
    spec = asked(study.spec)
    content = json.dumps([run_id, study.name, study.series, spec], sort_keys=True)
    return StudyRecord(
        study_id=hashlib.sha256(content.encode()).hexdigest()[:16],
        run_id=run_id,
        study=study.name,
        series=study.series,
        spec=spec,
        command=command,
        asked_at=datetime.now(UTC).isoformat(timespec="microseconds"),
    )


def asked(spec: Any) -> dict[str, Any]:
    """Return what a spec asks, as JSON knows it; the budget is no part of that."""
    content: dict[str, Any] = content_of(spec)
    return {name: value for name, value in content.items() if name not in _NOT_ASKED}


def ceilings_of(threads: Sequence[int]) -> dict[str, Any]:
    """Return what this machine can do: by number of threads, and ``cuda`` where there is a GPU."""
    measured = {str(t): asdict(in_fresh_process(ceilings.measure, t)) for t in threads}
    if cupy_unavailable() is None:
        measured["cuda"] = asdict(in_fresh_process(cuda_ceilings.measure))
    return measured


def _run(studies: Sequence[Study], store: Store, again: bool, report: Report) -> Run:
    """Return the run that is measured into; its conditions are measured where it is new."""
    modules = sorted({module for study in studies for module in study.spec.modules})
    threads = sorted({count for study in studies for count in study.threads})
    run = new_run(modules, again)
    known = {run.run_id: run for run in store.runs()}.get(run.run_id)
    missing = [t for t in threads if known is None or str(t) not in known.ceilings]
    if known is None or missing:
        report(Progress("ceilings", "what this machine can do", 0.0, 1.0))
        measured = (known.ceilings if known else {}) | ceilings_of(missing)
        run = replace(known or run, ceilings=measured)
        store.put_run(run)
        report(Progress("ceilings", "done", 1.0, 1.0))
        return run
    return known


def new_run(modules: Sequence[str] = (), again: bool = False) -> Run:
    """Return the run that visits made now belong to; its ceilings are not measured yet."""
    started = datetime.now(UTC).isoformat(timespec="microseconds")
    conditions: dict[str, Any] = {
        "machine": identity.identity(),
        "versions": identity.versions(),
        "code": identity.code_digest(),
        "modules": list(modules),
        "again": started if again else "",
    }
    run_id = hashlib.sha256(json.dumps(conditions, sort_keys=True).encode()).hexdigest()[:16]
    return Run(
        run_id=run_id,
        started=started,
        revision=identity.revision(),
        code=conditions["code"],
        machine=conditions["machine"],
        versions=conditions["versions"],
        ceilings={},
    )


@contextmanager
def _store(folder: Path) -> Iterator[Store]:
    store = Store(folder / FILE_NAME)
    try:
        yield store
    finally:
        store.close()
