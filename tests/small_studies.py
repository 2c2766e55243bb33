"""Every study, asked for little, of kernels whose times are planted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from crossover.bench.harness import race, visits
from crossover.bench.machine import identity
from crossover.bench.statistics import checks
from crossover.bench.studies import conduct, search, selfcheck, study
from crossover.bench.studies.kernels import scaling
from crossover.bench.studies.kernels.peers import Peers, PeersSpec
from crossover.bench.studies.kernels.regret import Regret, RegretSpec
from crossover.bench.studies.kernels.scaling import Scaling, ScalingSpec
from crossover.bench.studies.search import Search, SearchSpec
from crossover.bench.studies.selfcheck import SelfcheckPart
from crossover.bench.studies.step import Step, StepSpec
from crossover.bench.studies.study import PlannedVisit, Study
from crossover.bench.studies.sweep import Sweep, SweepSpec
from crossover.bench.workloads import mnist, networks
from crossover.bench.workloads.networks import Linear, Network
from crossover.bench.workloads.problem import Setting
from tests.fakes import CLOCK
from tests.in_process import InProcess, matrix_task

FAKES = ("tests.fakes",)
TINY = Network("tiny", (Linear("fc1", 784, 24), Linear("fc2", 24, 10)), 1, 1)
Patch = Callable[[object, str, object], None]


def prepare(patch: Patch, data: Path, worker: type = InProcess) -> None:
    """Let studies train on little, run in this process, and find two cores; times are planted."""
    small = mnist.load(data)
    patch(mnist, "load", lambda *_: small)
    patch(visits, "Worker", worker)
    patch(conduct, "ceilings_of", lambda threads: {str(t): {"planted": t} for t in threads})
    for module in (identity, study, selfcheck):
        patch(module, "available_cores", lambda: 2)
    patch(search, "_BETWEEN_VISITS_S", 0.0)
    patch(scaling, "_VISITS", 4)
    patch(race, "MOST_LOOPS", 2)
    patch(CLOCK, "still", True)


def with_tiny_network() -> None:
    networks.NETWORKS.setdefault(TINY.name, TINY)


def sweep(*kernels: str, batches: tuple[int, ...] = (4, 8), budget_s: float = 1e-9) -> Sweep:
    spec = SweepSpec(
        networks=("tiny",), sparsities=(0.5, 0.9), batches=batches, passes=("forward",),
        kernels=kernels or ("fake-steady", "fake-halving"), threads=(1,), budget_s=budget_s,
        modules=FAKES,
    )  # fmt: skip
    return Sweep(spec)


def searching(**changes: object) -> Search:
    spec = SearchSpec(
        network="tiny", layers=("fc2",), kernels=("fake-halving",), against="fake-steady",
        width=0.1, threads=(1,), budget_s=1e9, modules=FAKES,
    )  # fmt: skip
    return Search(replace(spec, **changes))  # type: ignore[arg-type]


def peers() -> Peers:
    spec = PeersSpec(
        kernels=("fake-halving",), networks=(), squares=(16, 24), sparsities=(0.5, 0.9),
        batches=(4,), passes=("forward",), budget_s=1e9, modules=FAKES,
    )  # fmt: skip
    return Peers(spec)


def step() -> Step:
    spec = StepSpec(
        network="tiny", sparsities=(0.5, 0.9), batches=(4,), pattern="initial", budget_s=1e9,
        kernels=("numpy-masked-update", "fake-halving"), modules=FAKES,
    )  # fmt: skip
    return Step(spec)


def scaled(*kernels: str) -> Scaling:
    spec = ScalingSpec(
        kernels=kernels or ("fake-halving",), shapes=((12, 8), (16, 8)), sparsities=(0.5,),
        batches=(4,), passes=("forward",), budget_s=1e9, modules=FAKES,
    )  # fmt: skip
    return Scaling(spec)


def selfcheck_part() -> SelfcheckPart:
    problem = matrix_task().problem
    other = replace(problem, setting=Setting(1, idle_threads="as the library likes"))
    names = ("fake-steady", "fake-halving")
    planned = [PlannedVisit(each, names, (6, 6)) for each in (problem, other, problem) * 4]
    part = SelfcheckPart(checks.BESIDE, planned)
    part.spec = replace(part.spec, modules=FAKES)
    return part


def regretted() -> Regret:
    spec = RegretSpec(
        kernel="numba-tiled", shapes=((12, 80),), sparsities=(0.5, 0.9), batches=(4,),
        passes=("forward",), budget_s=1e9,
    )  # fmt: skip
    return Regret(spec)


#: By what a test calls it.
STUDIES: Mapping[str, Callable[[], Study]] = {
    "sweep": sweep,
    "search": searching,
    "peers": peers,
    "step": step,
    "scaling": scaled,
    "regret": regretted,
    "selfcheck": selfcheck_part,
}
