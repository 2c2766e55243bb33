"""``gpu-check`` from end to end on a fake CUDA, in this process: no GPU test.

It is held to its stages, its store, its budget and its README; the figures mean nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossover.bench import (
    gpu_cells,
    gpu_check,
    gpu_conversions,
    gpu_findings,
    gpu_training,
    machine,
    timing,
)
from crossover.bench.__main__ import main
from crossover.bench.commands.gpu_check import folder_name
from crossover.bench.gpu_cells import SQUARES, GpuCell
from crossover.bench.gpu_check import Inquiry, Tools
from crossover.bench.gpu_contract import HardShape
from crossover.bench.gpu_findings import Checks
from crossover.bench.sources import Random
from crossover.bench.store import FILE_NAME, Store
from crossover.bench.trial import Job, Outcome
from crossover.bench.workloads import networks
from crossover.kernels import discover
from crossover.kernels.base import Kernel
from crossover.kernels.cuda.cupy_dense import CupyDense
from crossover.reports import gpu
from tests.kernels.fake_cuda import LIMITS, FakeCuda, installed

NAMES = ("cupy-dense", "cupy-dense-tf32", "cupy-dense-fp16", "cupy-csr", "cusparse-csr")
SHAPES = (
    HardShape("odd", 7, 13, 5, 0.4),
    HardShape("not finite", 9, 14, 3, 0.5, "not finite"),
    HardShape("blocks", 32, 48, 8, 0.4, "blocks"),
)


class Unpaid(CupyDense):
    """Forgets to write a row of its result."""

    name = "cupy-unwritten"

    def forward(self, operand: Any, x: Any, out: Any) -> Any:
        result = super().forward(operand, x, out)
        result[-1] = np.nan
        return result


class Unmoved(CupyDense):
    """Does not take an update over."""

    name = "cupy-unmoved"

    def update(self, operand: Any, step: Any, rate: float) -> None:
        pass


class InProcess:
    """A worker in this process, which alone has the fake CUDA."""

    def __init__(self, kernels: dict[str, Kernel]) -> None:
        self.kernels = kernels
        self.jobs: list[Job] = []

    def measure(self, task: Job) -> dict[str, Outcome]:
        self.jobs.append(task)
        kernels = {name: self.kernels[name] for name in task.kernels}
        with np.errstate(invalid="ignore"):  # NumPy would warn of what a GPU computes silently
            return task.carry_out(kernels, lambda _: None)

    def close(self) -> None:
        pass


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCuda]:
    monkeypatch.setattr(gpu_check, "SHAPES", SHAPES)
    monkeypatch.setattr(gpu_check, "tiers", lambda _: {"first": cells(), "second": cells(1)})
    monkeypatch.setattr(gpu_training, "_NETWORK", "tiny")
    monkeypatch.setattr(gpu_training, "_BATCH", 8)
    tiny = networks.Network("tiny", networks._fully_connected(784, 6, 10), 1, 1)
    monkeypatch.setitem(networks.NETWORKS, "tiny", tiny)
    monkeypatch.setattr(gpu_cells._Kept, "_source", None)
    monkeypatch.setattr(gpu_cells, "_ROUNDS", (2, 3))
    monkeypatch.setattr(gpu_cells, "_SHARE_S", 0.01)
    monkeypatch.setattr(timing, "SAMPLE_S", 1e-4)
    with installed(monkeypatch) as cuda:
        yield cuda


def cells(batch: int = 8) -> list[GpuCell]:
    source = Random(SQUARES, 32, 32, 0.5 if batch > 1 else 0.9)
    return [GpuCell(source, batch, "forward", cold) for cold in (False, True)]


def check(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    budget_s: float = 120.0,
    extra: tuple[Kernel, ...] = (),
) -> tuple[Checks, InProcess]:
    kernels = {name: discover()[name] for name in NAMES} | {each.name: each for each in extra}
    monkeypatch.setattr(gpu_check, "cuda_kernels", lambda *_: kernels)
    carrier = InProcess(kernels)
    tools = Tools(carrier, lambda: LIMITS, lambda: gpu_conversions.measure(64))
    inquiry = Inquiry(budget_s=budget_s)
    return gpu_check.check(inquiry, folder, "crossover gpu-check", tools), carrier


def test_all_stages_end_in_one_folder(
    fake: FakeCuda, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks, carrier = check(tmp_path, monkeypatch)
    assert not checks.wrong
    assert not checks.left_out
    assert set(checks.examined) == {shape.name for shape in SHAPES}
    assert {found["status"] for shape in checks.examined.values() for found in shape.values()} == {
        "measured"
    }
    assert all(found["status"] == "measured" for found in checks.trained.values())
    assert all(each["exact"] for each in checks.conversions)
    findings = gpu.write(tmp_path, checks)
    assert findings.rows == 4 * len(NAMES)
    text = (tmp_path / "README.md").read_text()
    for words in ("## Targets", "cusparse-csr", "host to GPU", "## Left out for time\n\nNone."):
        assert words in text
    assert (tmp_path / "report.html").exists()
    before = len(carrier.jobs)
    again, carrier = check(tmp_path, monkeypatch)
    assert before
    assert not carrier.jobs  # everything was there
    assert again.seed == checks.seed


def test_wrong_kernels_are_named(
    fake: FakeCuda, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks, _ = check(tmp_path, monkeypatch, extra=(Unpaid(), Unmoved()))
    wrong = {(where, name): reason for where, name, reason in checks.wrong}
    assert "forward: " in wrong[("odd", "cupy-unwritten")]
    assert "update: " in wrong[("odd", "cupy-unmoved")]
    assert "products" in wrong[("training", "cupy-unwritten")]
    assert {name for _, name in wrong} == {"cupy-unwritten", "cupy-unmoved"}
    store = Store(tmp_path / FILE_NAME)
    rows = store.frame(checks.run_id)
    store.close()
    assert set(rows[rows["kernel"] == "cupy-unwritten"]["status"]) == {"wrong"}
    gpu.write(tmp_path, checks)
    assert "| odd" in (tmp_path / "README.md").read_text()


def test_what_there_is_no_time_for_is_listed(
    fake: FakeCuda, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks, carrier = check(tmp_path, monkeypatch, budget_s=1e-3)
    assert not carrier.jobs
    assert checks.left_out["correctness at real sizes"] == [shape.name for shape in SHAPES]
    assert checks.left_out["training"] == list(NAMES)
    assert checks.left_out["timing: first"][0] == "random-squares 32x32 50 %, batch 8, forward"
    findings = gpu.write(tmp_path, checks)
    assert {each.measured for each in findings.targets} == {"not measured"}
    assert "random-squares 32x32 50 %" in (tmp_path / "README.md").read_text()


def test_an_interrupted_check_goes_on(
    fake: FakeCuda, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = gpu_cells.measure_cell

    def stopped(cell: GpuCell, *arguments: Any) -> Any:
        if cell.batch == 1:
            raise KeyboardInterrupt
        return measure(cell, *arguments)

    monkeypatch.setattr(gpu_check, "measure_cell", stopped)
    with pytest.raises(KeyboardInterrupt):
        check(tmp_path, monkeypatch)
    kept = json.loads((tmp_path / gpu_findings.CHECKS_NAME).read_text())
    assert set(kept["examined"]) == {shape.name for shape in SHAPES}
    monkeypatch.setattr(gpu_check, "measure_cell", measure)
    checks, carrier = check(tmp_path, monkeypatch)
    assert len(carrier.jobs) == 2  # the second tier alone
    assert not checks.wrong


def test_a_kernel_that_hung_is_not_timed(
    fake: FakeCuda, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examined = gpu_check._State._examined

    def hanging(self: Any, shape: HardShape, names: list[str]) -> Any:
        found = examined(self, shape, names)
        found["cupy-csr"] = {"status": "failed", "reason": "no answer within 90 s", "remarks": []}
        return found

    monkeypatch.setattr(gpu_check._State, "_examined", hanging)
    checks, carrier = check(tmp_path, monkeypatch)
    assert "cupy-csr" not in carrier.jobs[-1].kernels
    assert checks.wrong


def test_without_a_gpu_one_line_says_what_did_not_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "crossover.bench.commands.gpu_check.cupy_unavailable", lambda: "CuPy finds no NVIDIA GPU."
    )
    assert main(["gpu-check", "--out", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "CuPy finds no NVIDIA GPU; not run, for" in line
    for stage in gpu_check.STAGES:
        assert stage in line
    assert not (tmp_path / "run").exists()


def test_the_command_ends_in_the_targets(
    fake: FakeCuda, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    kernels = {name: discover()[name] for name in NAMES}
    monkeypatch.setattr(gpu_check, "cuda_kernels", lambda *_: kernels)
    monkeypatch.setattr("crossover.bench.commands.gpu_check.cupy_unavailable", lambda: None)
    tools = Tools(InProcess(kernels), lambda: LIMITS, lambda: gpu_conversions.measure(16))
    monkeypatch.setattr(gpu_check, "tools_of", lambda _: tools)
    arguments = ["gpu-check", "--out", str(tmp_path), "--budget", "2m", "--json", "--quiet"]
    assert main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found) == 7
    assert found[0]["measured"] == "not measured"


@pytest.mark.parametrize("name", ["numpy-dense", "numba-csr", "numba-cuda-csr"])
def test_training_steps_are_right_product_by_product(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = networks.Network("tiny", networks._fully_connected(784, 5, 10), 1, 1)
    monkeypatch.setitem(networks.NETWORKS, "tiny", tiny)
    done = gpu_training.steps(discover()[name], 3, 1, "tiny", 4)
    reference = gpu_training.steps(discover()["numpy-masked-update"], 3, 1, "tiny", 4)
    assert done.products == 3 * (2 + 1 + 2)
    assert not done.wrong
    assert done.losses[-1] < done.losses[0]
    if name != "numpy-dense":  # which trains its zeros too
        np.testing.assert_allclose(done.losses, reference.losses, rtol=1e-3)


def test_folder_names_are_plain() -> None:
    assert folder_name("NVIDIA H200, 580.159.03") == "nvidia-h200"
    assert folder_name("") == "gpu"


def test_checks_of_another_run_are_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / gpu_findings.CHECKS_NAME).write_text(json.dumps({"run_id": "other", "seed": 1}))
    assert gpu_findings.resumed(tmp_path, "mine").run_id == "mine"
    (tmp_path / gpu_findings.CHECKS_NAME).write_text("{")
    assert gpu_findings.resumed(tmp_path, "mine").examined == {}


def test_the_reference_folder_is_in_the_checkout() -> None:
    assert (machine.ROOT / "reports" / "reference").is_dir()
