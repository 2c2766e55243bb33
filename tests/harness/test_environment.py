"""The environment that measuring processes are started in."""

from __future__ import annotations

import os
import re
import signal

import pytest

from crossover.bench.harness.environment import (
    environment_of,
    in_fresh_process,
    variables,
    without_interrupts,
)
from crossover.bench.workloads.problem import Setting

PATIENCE = {"OPENBLAS_THREAD_TIMEOUT", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"}


def test_every_library_has_the_threads_of_the_setting() -> None:
    found = environment_of(Setting(3))
    threads = {value for name, value in found.items() if name.endswith("_NUM_THREADS")}
    assert threads == {"3"}


def test_every_pool_waits_a_little_and_none_sleeps_at_once() -> None:
    resting = environment_of(Setting(3))
    patience = {name: resting[name] for name in PATIENCE}
    assert all(int(re.match(r"\d+", value)[0]) for value in patience.values())  # type: ignore[index]
    # Without a unit it would count milliseconds.
    assert patience["KMP_BLOCKTIME"].endswith("us")
    assert not PATIENCE & environment_of(Setting(3, idle_threads="as the library likes")).keys()


def test_variables_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROSSOVER_BEFORE", "old")
    monkeypatch.delenv("CROSSOVER_NEW", raising=False)

    def failing() -> None:
        with variables({"CROSSOVER_BEFORE": "new", "CROSSOVER_NEW": "new"}):
            assert os.environ["CROSSOVER_BEFORE"] == os.environ["CROSSOVER_NEW"] == "new"
            raise RuntimeError("planted")

    with pytest.raises(RuntimeError, match="planted"):
        failing()
    assert os.environ["CROSSOVER_BEFORE"] == "old"
    assert "CROSSOVER_NEW" not in os.environ


def test_ctrl_c_is_ignored_by_what_is_started_meanwhile() -> None:
    before = signal.getsignal(signal.SIGINT)
    with without_interrupts():
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    assert signal.getsignal(signal.SIGINT) == before


def _threads(asked: int) -> tuple[int, int, str]:
    return asked, os.getpid(), os.environ["OMP_NUM_THREADS"]


def test_a_fresh_process_has_its_threads() -> None:
    asked, pid, threads = in_fresh_process(_threads, 2)
    assert (asked, threads) == (2, "2")
    assert pid != os.getpid()
