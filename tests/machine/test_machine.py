"""The machine: measured ceilings that hang together, the roofline, and the doctor's findings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from crossover.bench.machine import ceilings, doctor, identity, memory
from crossover.bench.machine.flush import ColdProbe
from crossover.bench.machine.limits import CpuLimits, CudaLimits, limits_of
from crossover.kernels.base import Kernel
from crossover.kernels.cpu.numpy_dense import NumpyDense
from crossover.kernels.processor import LINE, aligned, vendor

GOOD = CpuLimits(
    threads=2,
    fma_one_gflops=100.0,
    fma_gflops=200.0,
    blas_gflops=180.0,
    copy_gbs={"L1": 400.0, "L2": 200.0, "L3": 100.0, "memory": 20.0},
    cache_bytes={"L1": 1 << 15, "L2": 1 << 20, "L3": 1 << 25},
    call_s=1e-7,
    parallel_s=1e-6,
)


COLD = ColdProbe(cached_s=1e-8, flushed_s=9.5e-8, memory_s=1e-7, flush_s=4e-3)


def examined(
    ceilings: CpuLimits = GOOD,
    cold: ColdProbe = COLD,
    vendor: str = "AMD",
    kernels: Iterable[Kernel] = (),
) -> dict[str, doctor.Finding]:
    return {each.what: each for each in doctor.examine(ceilings, 2, cold, vendor, kernels)}


def test_measured_ceilings_hang_together() -> None:
    found = ceilings.measure(1)
    assert found.fma_one_gflops > 1
    assert found.fma_gflops > 1
    assert found.blas_gflops > 1
    assert all(rate > 0.1 for rate in found.copy_gbs.values())
    assert found.copy_gbs["memory"] > 0
    assert found.call_s < found.parallel_s
    assert limits_of({"1": asdict(found)}, "cpu", 1) == found


def test_limits_are_kept_by_device_and_threads() -> None:
    kept = {"2": asdict(GOOD)}
    assert limits_of(kept, "cpu", 2) == GOOD
    assert limits_of(kept, "cpu", 1) is None
    assert limits_of(kept, "cuda", 2) is None
    gpu = CudaLimits(1.0, 2.0, 3.0, {"L2": 1.0, "memory": 1.0}, 1, 1e-6, 1e-6, 1e-6)
    assert limits_of(kept | {"cuda": asdict(gpu)}, "cuda", 2) == gpu


def test_the_identity_is_the_same_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    pools = [
        {"user_api": "openmp", "internal_api": "openmp", "filepath": "/x/libgomp.so"},
        {"user_api": "blas", "internal_api": "openblas", "version": "2", "filepath": "/scipy/b"},
        {"user_api": "blas", "internal_api": "openblas", "version": "1", "filepath": "/numpy/a"},
    ]
    for order in (pools, pools[::-1]):
        monkeypatch.setattr("threadpoolctl.threadpool_info", lambda found=order: found)
        assert identity.blas() == "openblas 1"


def test_the_bound_is_the_slower_of_work_and_bytes() -> None:
    assert GOOD.bound_s(200e9, 1.0) == pytest.approx(1.0)
    assert GOOD.bound_s(1.0, 400e3 / 10) == pytest.approx(1e-7)  # 40 kB: in both L1 caches
    assert GOOD.bound_s(1.0, 1.5e6) == pytest.approx(1.5e6 / 200e9)
    assert GOOD.bound_s(1.0, 20e6) == pytest.approx(20e6 / 100e9)
    assert GOOD.bound_s(1.0, 1e9) == pytest.approx(1e9 / 20e9)


def test_the_bound_of_a_call_is_of_one_thread_or_of_all() -> None:
    woken = replace(GOOD, call_s=1e-7, parallel_s=2e-6)
    # Small: no second thread is worth waking. Its own L1 cache gives one thread half of both's.
    assert woken.call_bound_s(1.0, 20e3) == pytest.approx(20e3 / 200e9 + 1e-7)
    assert woken.call_bound_s(200e6, 20e3) == pytest.approx(1e-3 + 2e-6)
    # What is not in the caches has the memory's bandwidth, however little it is.
    assert woken.call_bound_s(1.0, 20e3, cold=True) == pytest.approx(20e3 / 20e9 + 1e-7)


def test_a_weak_baseline_is_named() -> None:
    assert examined()["dense baseline"].fine
    weak = examined(replace(GOOD, blas_gflops=86.0))["dense baseline"]
    assert "43% of this machine's FMA ceiling" in weak.found
    assert "flatter sparse kernels" in weak.remedy


def test_a_flush_that_leaves_operands_in_a_cache_is_named() -> None:
    assert examined()["cold calls"].fine
    warm = examined(cold=replace(COLD, flushed_s=3.5e-8))["cold calls"]
    assert "35 ns after a flush of 4.0 ms, 100 ns after four" in warm.found
    assert "--caches hot" in warm.remedy


class MadeForIntel(NumpyDense):
    name = "made-for-intel"
    made_for = "Intel"


class Absent(MadeForIntel):
    name = "absent"

    def unavailable(self) -> str | None:
        return "It is not installed."


def test_a_library_made_for_another_processor_is_named() -> None:
    kernels = MadeForIntel(), Absent(), NumpyDense()
    found = examined(kernels=kernels)["libraries"]
    assert found.found == "made for other processors than AMD's: made-for-intel for Intel's"
    assert "compare with them there" in found.remedy
    for maker in ("Intel", ""):
        assert examined(vendor=maker, kernels=kernels)["libraries"].fine
    assert examined(kernels=kernels[1:])["libraries"].fine


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("processor\t: 0\nvendor_id\t: GenuineIntel\n", "Intel"),
        ("processor\t: 0\nvendor_id\t: AuthenticAMD\n", "AMD"),
        ("vendor_id\t: CentaurHauls\n", "CentaurHauls"),
        ("processor\t: 0\nCPU implementer\t: 0x41\n", ""),
    ],
)
def test_the_vendor_is_what_the_processor_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, expected: str
) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")
    (tmp_path / "cpuinfo").write_text(content)
    assert vendor(tmp_path / "cpuinfo") == expected


def test_what_slows_threads_is_named() -> None:
    found = examined(replace(GOOD, fma_gflops=110.0, parallel_s=1e-4))
    assert not found["threads"].fine
    assert not found["threading layer"].fine


@pytest.mark.parametrize(
    ("content", "fine"), [("max 100000", True), ("200000 100000", True), ("150000 100000", False)]
)
def test_a_container_limit_is_named(tmp_path: Path, content: str, fine: bool) -> None:
    (tmp_path / "cpu.max").write_text(content)
    assert doctor._quota(tmp_path / "cpu.max", 2).fine == fine


@pytest.mark.parametrize(("governor", "fine"), [("performance", True), ("powersave", False)])
def test_a_slow_governor_is_named(tmp_path: Path, governor: str, fine: bool) -> None:
    (tmp_path / "governor").write_text(governor)
    assert doctor._governor(tmp_path / "governor").fine == fine


def test_load_is_named() -> None:
    assert doctor._load(0.3, 2).fine
    assert not doctor._load(3.0, 2).fine


def test_a_container_leaves_less_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    outside = memory.free_bytes()
    (tmp_path / "memory.max").write_text("3000\n")
    (tmp_path / "memory.current").write_text("2500\n")
    (tmp_path / "memory.stat").write_text("anon 2000\nfile 400\n")
    assert memory.free_bytes() == 900 < outside
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free_bytes() > 900


def test_arrays_for_kernels_start_at_a_cache_line() -> None:
    for shape in ((3, 5), (1, 1), (300, 64)):
        array = aligned(np.ones(shape, np.float32))
        assert array.ctypes.data % LINE == 0
        assert array.shape == shape
        assert (array == 1).all()
        assert array.flags["C_CONTIGUOUS"]


def test_what_identifies_a_machine_does_not_change() -> None:
    assert identity.identity() == identity.identity()
    assert identity.versions()["numpy"] == np.__version__
    assert identity.code_digest() == identity.code_digest()
    assert identity.conditions()["caches"] is not None
