"""What one measurement, one run and one commit leave behind: the rows of the records.

A *cell* is one problem of the sweep (network, sparsity, layer, pass, batch, threads); its
kernels are timed in the same rounds. A run is named by everything that could change its figures
(machine, libraries, code).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Run:
    """The conditions that rows were measured under."""

    run_id: str
    started: str
    command: str
    #: The git commit of the checkout.
    revision: str
    #: Hash of the suite's own source files.
    code: str
    machine: dict[str, Any]
    #: Library versions.
    versions: dict[str, str]
    seed: int
    #: Measured before the first cell: the fields of :class:`.ceilings.Ceilings` by threads;
    #: under ``cuda`` those of :class:`.cuda_ceilings.CudaCeilings`.
    ceilings: dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One kernel in one cell."""

    cell_id: str
    kernel: str
    # -- the problem
    network: str
    pruning: str
    scope: str
    #: Of the whole network, as asked for.
    network_sparsity: float
    #: Of the network at that sparsity, on the test set; None where there is no such network.
    accuracy: float | None
    layer: str
    layer_index: int
    m: int
    k: int
    #: Images, and columns of X: more than images where a convolution was lowered.
    batch: int
    n: int
    nnz: int
    #: Of this layer.
    sparsity: float
    #: Bytes of this layer's weight in each format.
    format_bytes: dict[str, int]
    pass_: str
    dtype: str
    threads: int
    #: Caches: ``hot`` or ``cold``.
    temperature: str
    # -- the kernel
    title: str
    device: str
    format: str
    arithmetic: str
    # -- the result
    #: ``measured``, ``skipped``, ``failed`` or ``wrong``; all but the first with a reason.
    status: str
    reason: str
    #: Seconds per call, one value a round.
    samples: list[float]
    #: Rounds of each visit to the cell: W is converted anew in each.
    visits: list[int]
    loops: int
    prepare_s: float | None
    first_call_s: float | None
    compile_s: float | None
    nbytes: int | None
    relative_error: float | None
    share_of_bound: float | None
    #: Seconds of the fixed canary, one value a round; Numba's threading layer; the load average
    #: before the cell; and the doubts that they raise (see :mod:`crossover.bench.flags`).
    canary: list[float]
    threading_layer: str
    #: On a GPU, seconds per call as the host sees it, and in a replayed CUDA graph; and remarks.
    call_samples: list[float]
    replay_samples: list[float]
    remarks: list[str]
    #: Seconds that the kernel kept the machine busy: converting, warming up, timed.
    busy_s: float
    load: float
    doubts: list[str]
    measured_at: str

    def __post_init__(self) -> None:
        if (self.status == "measured") == bool(self.reason):
            raise ValueError(f"status {self.status!r} with reason {self.reason!r}: one of the two")


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
    #: Of the cell's definition: other definitions are other quantities.
    digest: str
    threads: int
    #: Seconds, bytes or sparsity.
    value: float
    #: Share of what this machine's measured ceilings would allow; only shown, never judged by.
    roofline: float | None
    measured_at: str
