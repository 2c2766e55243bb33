"""The gate's self-check can fail, its plants do what they say, and a stopped one goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crossover.bench.errors import InputError
from crossover.bench.gate.comparison import Comparison
from crossover.bench.gate.faults import Coverage
from crossover.bench.gate.revisions.checkout import Version
from crossover.bench.gate.revisions.sides import Exported, Revisions
from crossover.bench.gate.selfcheck import checks as selfcheck
from crossover.bench.gate.selfcheck import plants
from crossover.bench.gate.selfcheck.checks import CHECKS, Check, Run
from crossover.bench.gate.session import GateSpec
from crossover.bench.gate.verdicts import Finding, Verdict
from crossover.bench.records.rows import Run as Conditions
from tests.gate.project import ROOT

SPEC = GateSpec()


def outcome(verdict: Verdict, *names: str) -> Comparison:
    """Return a comparison in which some cells have a verdict."""
    version = Version("v", "c")
    alone = verdict == "failed"
    findings = [
        Finding("time", name, "d", verdict, fails_alone=alone) for name in names or (plants.CELL,)
    ]
    conditions = Conditions("r", "", "", "", {}, {}, {})
    all_compared = Coverage(len(findings), len(findings), {})
    return Comparison(version, version, findings, all_compared, {}, {}, 2, conditions, 60.0, 4)


def check(word: str) -> Check:
    (one,) = [each for each in CHECKS if word in each.name]
    return one


def judged(
    word: str, answer: Callable[..., Comparison], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """Return the verdict of a check all of whose comparisons give one answer."""
    monkeypatch.setattr(selfcheck, "compare", answer)
    (one, runs), *_ = selfcheck.run(SPEC, 3, tmp_path, only=[word])
    return str(selfcheck.summary(one, runs)["verdict"])


def refusing(line: str) -> Callable[..., Comparison]:
    def answer(*_: Any) -> Comparison:
        raise InputError(line)

    return answer


@pytest.mark.parametrize(
    ("word", "answer", "verdict"),
    [
        ("A/A", lambda *_: outcome("same"), "passed"),
        ("A/A", lambda *_: outcome("slower"), "failed"),
        ("A/A", refusing("too little"), "failed"),
        ("5 %", lambda *_: outcome("slower"), "passed"),
        ("5 %", lambda *_: outcome("ambiguous"), "failed"),
        ("5 %", lambda *_: outcome("slower", "another"), "failed"),
        ("5 %", lambda *_: outcome("slower", plants.CELL, "another"), "failed"),
        ("2 %", lambda *_: outcome("ambiguous"), "passed"),
        ("2 %", lambda *_: outcome("same"), "failed"),
        ("a load", lambda *_: outcome("slower"), "failed"),
        ("a wrong result", lambda *_: outcome("wrong"), "passed"),
        ("a wrong result", lambda *_: outcome("same"), "failed"),
        ("where base cannot", lambda *_: outcome("wrong"), "passed"),
        ("where base cannot", refusing("base v cannot be loaded (ImportError)"), "failed"),
        ("crashes", lambda *_: outcome("failed"), "passed"),
        ("crashes", lambda *_: outcome("wrong"), "failed"),
        ("crashes", lambda *_: outcome("ambiguous"), "failed"),
        ("base that", refusing("base v cannot be loaded (ImportError)"), "passed"),
        ("base that", lambda *_: outcome("same"), "failed"),
    ],
)
def test_every_promise_can_be_broken(
    word: str, answer: Callable[..., Comparison], verdict: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(plants, "_LOAD", "")
    assert judged(word, answer, tmp_path, monkeypatch) == verdict


def test_a_rate_is_said_with_what_so_few_runs_can_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No alarm in twenty runs is a rate of up to one in six; a find is one of what was planted."""

    def found(word: str, answer: Callable[..., Comparison]) -> str:
        monkeypatch.setattr(selfcheck, "compare", answer)
        ((one, runs),) = selfcheck.run(SPEC, 20, tmp_path, only=[word])
        return str(selfcheck.summary(one, runs)["found"])

    quiet = found("A/A", lambda *_: outcome("same"))
    assert quiet == "a regression in 0 of 20 runs (a true rate of 0.0% to 16.8%)"
    elsewhere = found("5 %", lambda *_: outcome("slower", "another"))
    assert elsewhere.startswith("slower in 0 of 20 runs (a true rate of 0.0% to 16.8%)")


def test_a_stopped_selfcheck_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def answer(spec: GateSpec, *_: Any) -> Comparison:
        calls.append(spec.seed)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return outcome("same")

    monkeypatch.setattr(selfcheck, "compare", answer)
    path = tmp_path / selfcheck.FILE_NAME
    with pytest.raises(KeyboardInterrupt):
        list(selfcheck.run(SPEC, 4, tmp_path, only=["A/A"]))
    assert len(json.loads(path.read_text())) == 2
    ((_, runs),) = selfcheck.run(SPEC, 4, tmp_path, only=["A/A"])
    assert calls == [0, 1, 2, 2, 3]
    assert [each.repetition for each in runs] == [0, 1, 2, 3]
    path.write_text("{")
    with pytest.raises(InputError, match="is no record of self-checks"):
        list(selfcheck.run(SPEC, 1, tmp_path))
    with pytest.raises(InputError, match="no check is called 'magic'"):
        list(selfcheck.run(SPEC, 1, tmp_path / "none", only=["magic"]))


@pytest.mark.parametrize(("share", "expected"), [(0.05, 5), (0.02, 2)])
def test_a_slower_kernel_does_exactly_that_share_twice(share: float, expected: int) -> None:
    calls = []

    class NumbaCsr:
        def forward(self, operand: Any, x: Any, out: Any) -> None:
            calls.append(1)

    exec(plants._SLOWER.format(share=share), {"NumbaCsr": NumbaCsr})
    for _ in range(100):
        NumbaCsr().forward(None, None, None)
    assert len(calls) == pytest.approx(100 + expected, abs=1)


def test_plants_fit_the_source(tmp_path: Path) -> None:
    """They still find what they change; a fault that is nowhere would be found by nobody."""
    sides = [Exported(s, "v", tmp_path / s, s, (), tmp_path) for s in ("base", "control", "head")]
    for side in sides:
        shutil.copytree(ROOT / "kernels" / "cpu", side.folder)
    exported = Revisions(tuple(sides))
    before = plants.file_of(sides[0].folder).read_text()
    for plant, changed in (
        (plants.wrong_result, ["head"]),
        (plants.crash, ["head"]),
        (plants.unimportable, ["base"]),
        (plants.wrong_beside_unimportable, ["base", "head"]),
    ):
        plant(exported)
        for side in sides:
            path = plants.file_of(side.folder)
            assert (path.read_text() != before) == (side.side in changed)
            path.write_text(before)
    with pytest.raises(ValueError, match="no class NumbaCsr"):
        plants.file_of(ROOT / "bench" / "records")


def test_a_load_ends_with_its_context() -> None:
    with plants.load():
        pass


def test_a_run_is_what_is_kept(tmp_path: Path) -> None:
    run = Run("c", 0, "k", ["x"], [], "slower", "", 1.0, {"slower": 1})
    selfcheck._write(tmp_path / "runs.json", [run])
    assert selfcheck._read(tmp_path / "runs.json") == [run]
