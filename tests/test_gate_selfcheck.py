"""The gate's self-check can fail, its plants do what they say, and a stopped one goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crossover.bench.errors import InputError
from crossover.bench.gate import plants, selfcheck
from crossover.bench.gate.comparison import Comparison
from crossover.bench.gate.selfcheck import CHECKS, Check, Run
from crossover.bench.gate.session import Request
from crossover.bench.gate.trio import Version
from crossover.bench.gate.verdicts import Finding, Verdict

ROOT = Path(__file__).parent.parent
REQUEST = Request("", own_environments=False)


def outcome(verdict: Verdict, name: str = plants.CELL) -> Comparison:
    """Return a comparison in which one cell has a verdict."""
    version = Version("v", "c", Path(), Path(), Path())
    finding = Finding("time", name, "d", verdict)
    return Comparison(version, version, [finding], {}, 2, {}, 60.0, 4)


def check(word: str) -> Check:
    (one,) = [each for each in CHECKS if word in each.name]
    return one


def judged(
    word: str, answer: Callable[..., Comparison], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """Return the verdict of a check all of whose comparisons give one answer."""
    monkeypatch.setattr(selfcheck, "compare", answer)
    ((one, runs),) = selfcheck.run(REQUEST, 3, tmp_path / "runs.json", only=[word])
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
        ("2 %", lambda *_: outcome("ambiguous"), "passed"),
        ("2 %", lambda *_: outcome("same"), "failed"),
        ("load", lambda *_: outcome("slower"), "failed"),
        ("wrong", lambda *_: outcome("wrong"), "passed"),
        ("wrong", lambda *_: outcome("same"), "failed"),
        ("protocol", refusing("speaks version 0 of the gate's protocol"), "passed"),
        ("protocol", lambda *_: outcome("same"), "failed"),
        ("install", refusing("base v does not install"), "passed"),
        ("without", refusing("has no benchmark for the gate"), "passed"),
    ],
)
def test_every_promise_can_be_broken(
    word: str, answer: Callable[..., Comparison], verdict: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(plants, "_LOAD", "")
    assert judged(word, answer, tmp_path, monkeypatch) == verdict


def test_a_stopped_selfcheck_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def answer(request: Request, *_: Any) -> Comparison:
        calls.append(request.seed)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return outcome("same")

    monkeypatch.setattr(selfcheck, "compare", answer)
    path = tmp_path / "runs.json"
    with pytest.raises(KeyboardInterrupt):
        list(selfcheck.run(REQUEST, 4, path, only=["A/A"]))
    assert len(json.loads(path.read_text())) == 2
    ((_, runs),) = selfcheck.run(REQUEST, 4, path, only=["A/A"])
    assert calls == [0, 1, 2, 2, 3]
    assert [each.repetition for each in runs] == [0, 1, 2, 3]
    path.write_text("{")
    with pytest.raises(InputError, match="is no record of self-checks"):
        list(selfcheck.run(REQUEST, 1, path))
    with pytest.raises(InputError, match="no check is called 'magic'"):
        list(selfcheck.run(REQUEST, 1, tmp_path / "none.json", only=["magic"]))


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
    base, head = tmp_path / "base", tmp_path / "head"
    for tree in (base, head):
        shutil.copytree(ROOT / "kernels", tree / "kernels", ignore=shutil.ignore_patterns("*.nb*"))
        shutil.copytree(ROOT / "bench" / "gate", tree / "bench" / "gate")
        shutil.copy(ROOT / "pyproject.toml", tree)
    plants.wrong_result(base, head)
    assert "class NumbaCsr(" in (head / plants._FILE).read_text()
    plants.uninstallable(base, head)
    assert "planted @ file" in (base / "pyproject.toml").read_text()
    plants.older_protocol(base, head)
    namespace: dict[str, Any] = {}
    lines = (base / "bench" / "gate" / "protocol.py").read_text().splitlines()
    exec("\n".join(line for line in lines if line.startswith("PROTOCOL")), namespace)
    assert namespace["PROTOCOL"] == 0
    plants.no_benchmark(base, head)
    assert not (base / "bench" / "gate").exists()


def test_a_load_ends_with_its_context() -> None:
    with plants.load():
        pass


def test_a_run_is_what_is_kept(tmp_path: Path) -> None:
    run = Run("c", 0, "k", ["x"], [], "slower", "", 1.0, {"slower": 1})
    selfcheck._write(tmp_path / "runs.json", [run])
    assert selfcheck._read(tmp_path / "runs.json") == [run]
