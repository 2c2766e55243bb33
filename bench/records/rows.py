"""The rows that a run leaves behind, typed from the worker to the store and back.

A *visit* is one race over a problem: its rows were measured together, and only they are ever
paired. A run is named by everything that could change its figures (machine, libraries, code).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["measured", "skipped", "failed", "wrong"]


@dataclass(frozen=True)
class Run:
    """The conditions that visits were measured under."""

    run_id: str
    started: str
    #: The git commit of the checkout, and the hash of the suite's own source files.
    revision: str
    code: str
    machine: dict[str, Any]
    #: Library versions.
    versions: dict[str, str]
    #: Measured before the first visit: the fields of :class:`bench.machine.limits.CpuLimits` by
    #: threads; under ``cuda`` those of :class:`bench.machine.limits.CudaLimits`.
    ceilings: dict[str, Any]

    @property
    def machine_title(self) -> str:
        """Return the machine in a few words."""
        return machine_title(self.machine)


def machine_title(machine: dict[str, Any]) -> str:
    """Return a machine's identity in a few words."""
    words = f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB"
    return f"{words}, {machine['gpu']}" if machine["gpu"] else f"{words}, no GPU"


@dataclass(frozen=True)
class StudyRecord:
    """What was asked: a study by name, and its spec."""

    study_id: str
    run_id: str
    study: str
    #: Visits of one series are pooled; see :class:`bench.studies.study.Study`.
    series: str
    spec: dict[str, Any]
    command: str
    #: ISO 8601; the last time that it was asked.
    asked_at: str


@dataclass(frozen=True)
class KernelRecord:
    """What a kernel declares, so that its rows can be shown where it is not installed."""

    name: str
    title: str
    device: str
    format: str
    role: str
    runtime: str
    stores_zeros: bool
    #: Maker of the processors that its library is made for; empty: of any.
    made_for: str
    #: Of float32.
    arithmetic: str
    source: str
    colour: str
    marker: str
    dash: str

    @property
    def rounds(self) -> bool:
        """Return whether it reads operands of float32 with fewer bits."""
        return self.arithmetic not in ("", "fp32")


@dataclass(frozen=True)
class ProblemRecord:
    """A workload in a setting, as it was asked for and as the worker made it."""

    problem_id: str
    #: Of the workload alone: what machines are compared by.
    workload_id: str
    #: A network, or a group of matrices.
    network: str
    #: Of the whole network, as asked for.
    network_sparsity: float
    #: How W got its zeros, and over what: all layers together, or each.
    pattern: str
    scope: str
    #: Of the network at that sparsity, on the test set; None where there is no such network.
    accuracy: float | None
    layer: str
    layer_index: int
    #: A pass, or ``step``.
    computes: str
    dtype: str
    #: The recipe of the workload, whole.
    recipe: dict[str, Any]
    threads: int
    #: ``hot`` or ``cold``.
    caches: str
    #: See :class:`bench.workloads.problem.Setting`; empty in what older versions measured.
    idle_threads: str
    m: int
    k: int
    #: Images, and columns of X: more than images where a convolution was lowered.
    batch: int
    n: int
    nnz: int
    #: Of this layer.
    sparsity: float
    #: Shares of zeros in X and in dY.
    zeros_x: float
    zeros_dy: float
    #: Operations on stored weights alone, and on all of them; bytes of X or dY and the result.
    useful_flops: float
    executed_flops: float
    side_bytes: int
    #: Bytes of W in each format.
    format_bytes: dict[str, int]

    @property
    def was_made(self) -> bool:
        """Return whether the worker could make it: otherwise no size of it is known."""
        return self.m > 0


@dataclass(frozen=True)
class VisitRecord:
    """One race: when, in which process, and what the machine was doing."""

    visit_id: int
    run_id: str
    series: str
    problem_id: str
    #: Names the worker process.
    process: str
    seed: list[int]
    #: Processes that wanted to run (1-minute load average) before it.
    load: float
    #: Seconds of the fixed canary by its parts, one value a round.
    canary: dict[str, list[float]]
    started: str
    #: Seconds of all of it, the harness's own work included.
    wall_s: float


#: A trained network's accuracy on training images that it never saw, where there are any.
HELD_OUT = "held-out accuracy"
#: How often its weights went through the training images, dense at first or not.
EPOCHS = "epochs"
#: 1 where it was sparse from its first step on, 0 where it was not.
STARTS_SPARSE = "starts sparse"


@dataclass(frozen=True)
class Row:
    """What one kernel did in one visit."""

    kernel: str
    #: All but ``measured`` with a reason.
    status: Status
    reason: str = ""
    #: Seconds per call, one value a round; on a GPU the device's own time.
    samples: list[float] = field(default_factory=list)
    #: Calls per sample.
    loops: int = 0
    #: On a GPU, seconds per call as the host sees it, and in a replayed CUDA graph.
    call_samples: list[float] = field(default_factory=list)
    replay_samples: list[float] = field(default_factory=list)
    #: Of a training step on a CPU, the seconds inside the kernel's passes and updates.
    inside_samples: list[float] = field(default_factory=list)
    #: Of these by what they went into: each pass, and ``update``.
    part_samples: dict[str, list[float]] = field(default_factory=dict)
    #: Of a network that is served, of each round: the seconds within which half of the answers
    #: came, and all but one in a hundred. ``samples`` are seconds an answer, of all callers.
    p50_samples: list[float] = field(default_factory=list)
    p99_samples: list[float] = field(default_factory=list)
    #: Of a training, the share of the test set that is classified right, after each epoch timed.
    accuracies: list[float] = field(default_factory=list)
    #: Of a training beside one in float64: by how much the weights differ after 1, 2, 4, 8 … steps,
    #: at most over all layers, in units of the largest weight of the layer.
    differences: list[float] = field(default_factory=list)
    #: Of a trained network, what was counted of the pattern of each layer: ``fc1 overlap``, say;
    #: and ``HELD_OUT``, ``EPOCHS`` and ``STARTS_SPARSE``.
    facts: dict[str, float] = field(default_factory=dict)
    #: Seconds of converting W to the operand (on a GPU: and moving it there), and back.
    prepare_s: float | None = None
    restore_s: float | None = None
    #: The first call, compilation included; and seconds of all that was compiled for the kernel, 0
    #: where a cache on disk had the code.
    first_call_s: float | None = None
    compile_s: float | None = None
    nbytes: int | None = None
    stored_entries: int | None = None
    #: Largest error over the largest reference value, and in units of its bound.
    relative_error: float | None = None
    share_of_bound: float | None = None
    #: What Numba started its threads with, if it was used.
    threading_layer: str = ""
    #: What the worker saw to be wrong with the timing.
    warnings: list[str] = field(default_factory=list)
    #: Seconds that the kernel kept the machine busy: converting, warming up, timed.
    busy_s: float = 0.0

    def __post_init__(self) -> None:
        if (self.status == "measured") == bool(self.reason):
            raise ValueError(f"status {self.status!r} with reason {self.reason!r}: one of the two")


@dataclass(frozen=True)
class Visit:
    """A visit as it was stored: the race, its problem, and a row per kernel."""

    record: VisitRecord
    problem: ProblemRecord
    rows: dict[str, Row]

    def measured(self, *kernels: str) -> bool:
        """Return whether every one of ``kernels`` was measured in it."""
        for name in kernels:
            row = self.rows.get(name)
            if row is None or row.status != "measured":
                return False
        return True


@dataclass(frozen=True)
class CommitRow:
    """One quantity of one commit, as a gate measured it on a machine."""

    #: Hash of the machine's identity, and its title.
    machine: str
    machine_title: str
    #: The git commit, and when it was committed (ISO 8601).
    revision: str
    committed_at: str
    #: ``time``, ``conversion``, ``memory``, ``compilation`` or ``crossover``.
    metric: str
    name: str
    #: Of the workload: other definitions are other quantities.
    digest: str
    threads: int
    #: Seconds, bytes or sparsity.
    value: float
    #: Share of what this machine's measured ceilings would allow; only shown, never judged by.
    roofline: float | None
    measured_at: str
