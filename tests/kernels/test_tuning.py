"""Parameters are measured once per machine, and only a clear gain moves them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numba
import pytest

from crossover.kernels.cpu import threads, tuning
from crossover.kernels.cpu.threads import serial_loads


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("CROSSOVER_TUNING", "measured")
    tuning.chosen.cache_clear()
    return tmp_path


def test_what_was_measured_is_kept(folder: Path) -> None:
    assert tuning.chosen("width", 3, lambda _: 7, 2) == 7
    (path,) = folder.iterdir()
    assert json.loads(path.read_text()) == {"width": 7}
    tuning.chosen.cache_clear()
    assert tuning.chosen("width", 3, lambda _: pytest.fail("measured again"), 2) == 7


def test_other_numbers_of_threads_are_measured_apart(folder: Path) -> None:
    found = [tuning.chosen("width", 3, lambda threads: 10 * threads, threads) for threads in (1, 2)]
    assert found == [10, 20]


@pytest.mark.parametrize("text", ["", "[]", '{"width": "wide"}', "{"])
def test_a_broken_file_is_measured_anew(folder: Path, text: str) -> None:
    tuning.chosen("width", 3, lambda _: 7, 2)
    (path,) = folder.iterdir()
    path.write_text(text)
    tuning.chosen.cache_clear()
    assert tuning.chosen("width", 3, lambda _: 8, 2) == 8


def test_the_model_alone_is_used_if_asked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROSSOVER_TUNING", "model")
    assert tuning.chosen("width", 3, lambda _: pytest.fail("measured"), 2) == 3
    assert not list(folder.iterdir())


def test_only_a_clear_gain_moves_a_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {1: 1.0, 2: 0.97, 4: 1.1}
    clock = [0.0]

    def run(candidate: int) -> None:
        clock[0] += seconds[candidate]

    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    assert tuning.fastest((1, 2, 4), run) == 1
    seconds[4] = 0.9
    assert tuning.fastest((1, 2, 4), run) == 4


def test_the_cost_of_threads_is_measured_as_a_power_of_two(folder: Path) -> None:
    loads = serial_loads()
    assert loads > 0
    assert loads & (loads - 1) == 0


def test_a_busy_moment_does_not_make_threads_look_dear(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Seconds to wake threads, of a call and of a sum, try after try: each meets a busy moment once.
    tries = iter([1e-3, 1e-7, 1.1e-6, 2e-6, 1e-3, 1.1e-6, 2e-6, 1e-7, 1e-3])
    monkeypatch.setattr(threads, "shortest_s", lambda _: next(tries))
    monkeypatch.setattr(numba, "get_num_threads", lambda: 2)
    # 1.9 µs, of which a load takes half of 1 / 4,096 µs.
    assert serial_loads() == 1 << 14


def test_the_shortest_time_is_of_calls_over_a_while() -> None:
    calls = []
    tuning.shortest_s(lambda: calls.append(time.perf_counter()))
    assert calls[-1] - calls[0] > 0.9 * tuning._REPEATED_S
    assert len(calls) > tuning._REPEATS
