"""Whether the gate keeps its word on this machine: faults planted, and none planted, for real.

Every run is kept as it ends, so that the same command goes on where it was stopped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from scipy import stats

from crossover.bench.errors import InputError
from crossover.bench.gate.comparison import Comparison
from crossover.bench.gate.revisions.checkout import WORKTREE
from crossover.bench.gate.selfcheck import plants
from crossover.bench.gate.session import GateSpec, Plant, compare
from crossover.bench.machine.identity import code_digest
from crossover.bench.records.files import write_whole
from crossover.bench.statistics.intervals import CONFIDENCE
from crossover.bench.studies.study import Progress, Report, ignore

FILE_NAME = "gate-selfcheck.json"

#: A run of identical code may report a regression in so many runs at most.
_FALSE_ALARMS = 0.01
_FOUND = 0.95


@dataclass(frozen=True)
class Run:
    """One gate of a self-check, and what came of it."""

    check: str
    repetition: int
    #: Of the code and of what the run was asked for.
    key: str
    #: Regressions, wrong results, and the verdict on what was planted; or what refused the run.
    slower: list[str]
    wrong: list[str]
    verdict: str
    refused: str
    measuring_s: float
    counts: dict[str, int]


@dataclass(frozen=True)
class Check:
    """One promise, and how it is put to the test."""

    name: str
    holds_to: str
    plant: Plant
    #: Whether the runs, all together, keep the promise.
    kept: Callable[[Sequence[Run]], bool]
    #: Whether it is repeated as often as is asked for, or done once.
    repeated: bool = False
    loaded: bool = False


def _quiet(runs: Sequence[Run]) -> bool:
    alarms = sum(bool(run.slower or run.wrong or run.refused) for run in runs)
    return alarms <= _FALSE_ALARMS * len(runs)


def _found(runs: Sequence[Run]) -> bool:
    hits = sum(run.verdict == "slower" for run in runs)
    others = [name for run in runs for name in run.slower if plants.KERNEL not in name]
    return hits >= _FOUND * len(runs) and not others


def _refused(word: str) -> Callable[[Sequence[Run]], bool]:
    return lambda runs: all(word in run.refused and "\n" not in run.refused for run in runs)


CHECKS = (
    Check(
        "nothing planted (A/A)",
        f"a regression in at most {_FALSE_ALARMS:.0%} of the runs",
        plants.nothing,
        _quiet,
        repeated=True,
    ),
    Check(
        "one kernel 5 % slower",
        f"found in at least {_FOUND:.0%} of the runs, and no other kernel",
        plants.five_percent,
        _found,
        repeated=True,
    ),
    Check(
        "one kernel 2 % slower",
        "never reported as the same",
        plants.two_percent,
        lambda runs: all(run.verdict in ("ambiguous", "slower") for run in runs),
        repeated=True,
    ),
    Check(
        "a load that comes and goes on one core",
        "no regression",
        plants.nothing,
        _quiet,
        loaded=True,
    ),
    Check(
        "a wrong result",
        "exit 3",
        plants.wrong_result,
        lambda runs: all(plants.CELL in run.wrong for run in runs),
    ),
    Check(
        "a wrong result where base cannot be loaded",
        "exit 3",
        plants.wrong_beside_unimportable,
        lambda runs: all(plants.CELL in run.wrong for run in runs),
    ),
    Check(
        "a kernel that crashes",
        "failed, not wrong; exit 1",
        plants.crash,
        lambda runs: all(
            run.verdict == "failed" and plants.CELL in run.slower and not run.wrong for run in runs
        ),
    ),
    Check(
        "base that cannot be loaded",
        "one line, exit 2",
        plants.unimportable,
        _refused("cannot be loaded"),
    ),
)


def run(
    spec: GateSpec,
    repeats: int,
    folder: Path,
    report: Report = ignore,
    only: Sequence[str] = (),
) -> Iterator[tuple[Check, list[Run]]]:
    """Yield each check with its runs, as it ends; what ``folder`` holds of them is not run again.

    Raises:
        InputError: if ``only`` names no check, or what is kept cannot be read.
    """
    path = folder / FILE_NAME
    chosen = [each for each in CHECKS if not only or any(word in each.name for word in only)]
    if not chosen:
        raise InputError(f"no check is called {only[0]!r}: {', '.join(c.name for c in CHECKS)}")
    known = _read(path)
    key = f"{code_digest()} {spec.budget_s:g} {spec.threads} {' '.join(spec.kernels)}"
    for check in chosen:
        runs: list[Run] = []
        for repetition in range(repeats if check.repeated else 1):
            done = next((r for r in known if _same(r, check, repetition, key)), None)
            if done is None:
                report(Progress("selfcheck", check.name, repetition, repeats))
                done = _run(check, repetition, key, spec, folder, report)
                known.append(done)
                _write(path, known)
            runs.append(done)
        yield check, runs


def summary(check: Check, runs: Sequence[Run]) -> dict[str, Any]:
    """Return a check as a line of a table."""
    refused = [each.refused for each in runs if each.refused]
    verdicts = ", ".join(sorted({each.verdict for each in runs} - {""}))
    if check.plant is plants.nothing:
        found = f"a regression in {_rate(sum(bool(each.slower) for each in runs), len(runs))}"
    elif check.repeated:
        slower = _rate(sum(each.verdict == "slower" for each in runs), len(runs))
        found = f"slower in {slower}; {plants.CELL}: {verdicts}"
    else:
        found = f"{plants.CELL}: {verdicts}"
    return {
        "check": check.name,
        "holds to": check.holds_to,
        "found": refused[0] if refused else found,
        "longest": f"{max(each.measuring_s for each in runs):.0f} s",
        "verdict": "passed" if check.kept(runs) else "failed",
    }


def _rate(count: int, of: int) -> str:
    """Return how often it was so, and what so many runs say of the rate."""
    low, high = stats.binomtest(count, of).proportion_ci(CONFIDENCE)
    bounds = f" (a true rate of {low:.1%} to {high:.1%})" if of > 1 else ""
    return f"{count} of {of} runs{bounds}"


def _run(
    check: Check, repetition: int, key: str, spec: GateSpec, folder: Path, report: Report
) -> Run:
    asked = replace(spec, base=WORKTREE, head=WORKTREE, seed=repetition)
    try:
        with plants.load() if check.loaded else nullcontext():
            found = compare(asked, folder, "crossover gate --selfcheck", report, True, check.plant)
    except InputError as error:
        return Run(check.name, repetition, key, [], [], "", str(error), 0.0, {})
    return _outcome(check, repetition, key, found)


def _outcome(check: Check, repetition: int, key: str, found: Comparison) -> Run:
    counts: dict[str, int] = {}
    for each in found.findings:
        counts[each.verdict] = counts.get(each.verdict, 0) + 1
    return Run(
        check.name,
        repetition,
        key,
        slower=[each.name for each in found.findings if each.regression],
        wrong=[each.name for each in found.findings if each.verdict == "wrong"],
        verdict=next((each.verdict for each in found.findings if each.name == plants.CELL), ""),
        refused="",
        measuring_s=found.measuring_s,
        counts=counts,
    )


def _same(run: Run, check: Check, repetition: int, key: str) -> bool:
    return (run.check, run.repetition, run.key) == (check.name, repetition, key)


def _read(path: Path) -> list[Run]:
    try:
        return [Run(**each) for each in json.loads(path.read_text())]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path} is no record of self-checks ({error}): remove it") from error


def _write(path: Path, runs: Sequence[Run]) -> None:
    write_whole(path, json.dumps([asdict(each) for each in runs], indent=1))
