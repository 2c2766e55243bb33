"""GPU timing and ceilings, on a simulated device: a host that queues and a stream that works."""

from __future__ import annotations

import contextlib
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest

from crossover.bench.machine import cuda
from crossover.bench.machine.limits import CudaLimits

WORK_S, LAUNCH_S = 3e-6, 8e-6


class Device:
    """A stream on a device; the host's clock stands still but for what is told here."""

    def __init__(self) -> None:
        self.host, self.busy_until = 0.0, 0.0
        self.captured: list[float] | None = None

    def launch(self, work_s: float = WORK_S, launch_s: float = LAUNCH_S) -> None:
        """Queue ``work_s`` of work, which takes the host ``launch_s``."""
        if self.captured is not None:
            self.captured.append(work_s)
            return
        self.host += launch_s
        self.busy_until = max(self.busy_until, self.host) + work_s

    def synchronize(self) -> None:
        self.host = max(self.host, self.busy_until)


class Event:
    device: Device

    def record(self) -> None:
        self.at = max(self.device.busy_until, self.device.host)

    @property
    def done(self) -> bool:
        return self.device.host >= self.at

    def synchronize(self) -> None:
        self.device.host = max(self.device.host, self.at)


class Stream:
    device: Device

    def __init__(self, non_blocking: bool = False) -> None:
        self.refuses = False

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        pass

    def synchronize(self) -> None:
        self.device.synchronize()

    def begin_capture(self) -> None:
        self.device.captured = []

    def end_capture(self) -> Any:
        works, self.device.captured = self.device.captured or [], None

        def launch(stream: Any) -> None:
            self.device.launch(sum(works))

        return types.SimpleNamespace(launch=launch)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    """Return a simulated device, in the place of CuPy's and of the host's clock."""
    simulated = Device()
    Event.device = Stream.device = simulated
    stream = Stream()

    def hold(grid: Any, block: Any, arguments: tuple[Any]) -> None:
        simulated.launch(float(arguments[0]) * 1e-9)

    class Pool:
        malloc = staticmethod(lambda _: None)

    runtime = types.SimpleNamespace(
        MemoryPool=Pool,
        using_allocator=lambda _: contextlib.nullcontext(),
        Event=Event,
        Stream=Stream,
        get_current_stream=lambda: stream,
        get_elapsed_time=lambda begin, end: (end.at - begin.at) * 1e3,
    )
    fake = types.SimpleNamespace(cuda=runtime, RawKernel=lambda *_: hold)
    monkeypatch.setitem(sys.modules, "cupy", fake)
    monkeypatch.setattr("crossover.bench.machine.cuda.time.perf_counter", lambda: simulated.host)
    cuda._hold_kernel.cache_clear()
    yield simulated
    cuda._hold_kernel.cache_clear()


def test_events_behind_queued_work_do_not_see_the_host(device: Device) -> None:
    clock = cuda.EventClock()
    for loops in (1, 10, 200):
        taken, _ = clock.seconds(device.launch, loops)
        assert taken == pytest.approx(loops * WORK_S)
    assert not clock.exposed


def test_without_queued_work_the_host_would_show(device: Device, monkeypatch: Any) -> None:
    monkeypatch.setattr(cuda, "_SHORTEST_HOLD_S", 1e-9)
    monkeypatch.setattr(cuda, "_LONGEST_HOLD_S", 1e-9)
    clock = cuda.EventClock()
    taken, _ = clock.seconds(device.launch, 100)
    assert taken > 50 * LAUNCH_S
    assert clock.exposed


def test_a_call_that_waits_for_the_device_is_exposed(device: Device) -> None:
    def waiting() -> None:
        device.launch()
        device.synchronize()

    clock = cuda.EventClock()
    clock.seconds(waiting, 10)
    assert clock.exposed


@pytest.mark.parametrize("loops", [1, 7, 50, 120])
def test_cold_calls_are_timed_without_their_flushes(device: Device, loops: int) -> None:
    flushed: list[float] = []

    def flush() -> None:
        flushed.append(1)
        device.launch(40e-6)

    clock = cuda.EventClock()
    taken, _ = clock.cold_seconds(device.launch, flush, loops)
    assert taken == pytest.approx(loops * WORK_S)
    assert not clock.exposed
    assert len(flushed) >= loops


def test_a_cold_call_that_waits_for_the_device_is_exposed(device: Device) -> None:
    def waiting() -> None:
        device.launch()
        device.synchronize()

    clock = cuda.EventClock()
    clock.cold_seconds(waiting, device.launch, 2)
    assert clock.exposed


def test_a_canary_of_a_gpu_that_is_lost_has_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = types.SimpleNamespace(get=lambda: [1500])
    launched: list[int] = []

    def kernel(grid: Any, block: Any, arguments: tuple[Any, Any]) -> None:
        launched.append(int(arguments[1]))
        if len(launched) > 1:
            raise RuntimeError("an illegal memory access was encountered")

    fake = types.SimpleNamespace(zeros=lambda *_: kept, RawKernel=lambda *_: kernel)
    monkeypatch.setitem(sys.modules, "cupy", fake)
    canary = cuda.ClockCanary()
    assert canary() == 1.5e-6
    assert canary() is None


def test_the_host_sees_launches_and_the_wait(device: Device) -> None:
    taken, _ = cuda.WaitingClock().seconds(device.launch, 100)
    assert taken == pytest.approx(100 * LAUNCH_S + WORK_S)


@pytest.mark.parametrize("loops", [1, 20, 199])
def test_a_replayed_graph_takes_the_time_of_its_work(device: Device, loops: int) -> None:
    clock = cuda.ReplayClock(device.launch)
    taken, _ = clock.seconds(device.launch, loops)
    assert taken == pytest.approx(loops * WORK_S)


def test_a_replay_computes_what_the_call_did_or_is_found_out(device: Device) -> None:
    results = [0.0]

    def call() -> list[float]:
        device.launch()
        return results

    def poison(result: list[float]) -> None:
        result[0] = float("nan")

    replayed = cuda.ReplayClock(call).replayed(poison)
    assert replayed is results
    assert results[0] != results[0]  # this graph only takes time


def test_a_call_that_cannot_be_captured_says_so(device: Device) -> None:
    calls: list[int] = []

    def refusing() -> None:
        calls.append(1)
        if device.captured is not None:
            raise RuntimeError("not while capturing")

    with pytest.raises(RuntimeError, match="not while capturing"):
        cuda.ReplayClock(refusing)
    assert device.captured is None  # the capture was ended


def test_the_roofline_of_a_gpu() -> None:
    limits = CudaLimits(
        fp32_gflops=50e3, tf32_gflops=400e3, fp16_gflops=800e3,
        copy_gbs={"L2": 5000.0, "memory": 3000.0}, l2_bytes=1 << 26,
        launch_s=1e-6, call_s=8e-6, replay_s=1e-6,
    )  # fmt: skip
    assert limits.bound_s(50e12, 1.0) == pytest.approx(1.0)
    assert limits.bound_s(1.0, 1e6) == pytest.approx(1e6 / 5000e9)
    assert limits.bound_s(1.0, 1e9) == pytest.approx(1e9 / 3000e9)
    assert limits.call_bound_s(1.0, 1e6) == pytest.approx(1e6 / 5000e9 + 1e-6)
    assert limits.call_bound_s(1.0, 1e6, cold=True) == pytest.approx(1e6 / 3000e9 + 1e-6)


def test_a_gpu_that_does_not_answer_is_lost(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = sys.modules["cupy"].cuda
    monkeypatch.setattr(runtime, "runtime", types.SimpleNamespace(), raising=False)
    runtime.runtime.deviceSynchronize = lambda: None
    assert not cuda.lost()

    def illegal() -> None:
        raise RuntimeError("an illegal memory access was encountered")

    runtime.runtime.deviceSynchronize = illegal
    assert cuda.lost()
