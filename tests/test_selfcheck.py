"""The self-check can fail: its verdicts on planted figures; no clock is read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from crossover.bench import selfcheck
from crossover.bench.cell_trial import Task
from crossover.bench.intervals import Interval
from crossover.bench.trial import Outcome


class Planted:
    """A worker whose kernels take planted times."""

    def __init__(self, **seconds: float) -> None:
        self.seconds = seconds
        self.rng = np.random.default_rng(0)

    def measure(self, task: Task) -> dict[str, Outcome]:
        rounds = task.rounds[0]
        return {
            name: Outcome(
                "measured",
                samples=list(self.seconds.get(name, 1e-3) * self.rng.lognormal(0, 0.03, rounds)),
            )
            for name in task.kernels
        }

    def close(self) -> None:
        pass


@pytest.mark.parametrize(("second", "verdict"), [(1e-3, "passed"), (1.01e-3, "failed")])
def test_a_bias_of_one_percent_is_found(
    monkeypatch: pytest.MonkeyPatch, second: float, verdict: str
) -> None:
    times: dict[str, Any] = {selfcheck.Pollux.name: second}
    monkeypatch.setattr(selfcheck, "_worker", lambda: Planted(**times))
    assert selfcheck._against_itself().verdict == verdict


def test_agreement_is_said_where_it_is_known() -> None:
    assert selfcheck._agreement(Interval(0.97, 1.01, 1.04)) == "passed"
    assert selfcheck._agreement(Interval(0.97, 1.08, 1.2)) == "not decided"
    assert selfcheck._agreement(Interval(1.06, 1.08, 1.1)) == "failed"


def test_pyperf_has_its_share_of_the_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert selfcheck._pyperf().verdict == "not run"


def test_twins_share_their_operand() -> None:
    task = selfcheck._task([], 0)
    one, two = selfcheck.Castor(), selfcheck.Pollux()
    assert one.prepare(task.weight) is two.prepare(task.weight)
    assert selfcheck.call("numpy-dense")().shape == (300, 64)
