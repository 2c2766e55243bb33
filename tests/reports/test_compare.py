"""Two made-up machines side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from crossover.bench.commands.main import main
from crossover.bench.records.rows import Run, Visit
from crossover.bench.statistics.intervals import Interval
from crossover.reports.compare import document
from crossover.reports.compare.differences import (
    crossover_differences,
    only_in,
    ratio_verdict,
    speedup_differences,
)
from crossover.reports.compare.machines import differing, machines
from crossover.reports.results import Results
from tests.reports import made

SCHEMA: dict[str, Any] = json.loads((Path(document.__file__).parent / "schema.json").read_text())
OTHER = replace(
    made.RUN, run_id="r2", machine=made.RUN.machine | {"cpu": "Another(R) CPU @ 2 GHz", "cores": 8}
)
SPARSITIES = (0.0, 0.5, 0.8, 0.9, 0.95)


def sweep(crosses_at: float, **fields: Any) -> list[Visit]:
    """Return a sweep of fc1 in which csr crosses over at a sparsity."""
    return [
        visit
        for sparsity in SPARSITIES
        for visit in made.visits(
            "sweep", made.problem(sparsity, **fields),
            {"blas": 1e-4, "csr": 1e-4 * (1 - sparsity) / (1 - crosses_at)},
        )
    ]  # fmt: skip


def results(folder: Path, visits: Sequence[Visit], run: Run = made.RUN) -> Results:
    moved = [replace(v, record=replace(v.record, run_id=run.run_id)) for v in visits]
    asked = replace(made.study("sweep"), run_id=run.run_id)
    return made.results(folder, moved, [asked], run)


@pytest.fixture
def pair(tmp_path: Path) -> Callable[..., list[Results]]:
    def of(one: Sequence[Visit], other: Sequence[Visit], run: Run = OTHER) -> list[Results]:
        return [results(tmp_path / "a", one), results(tmp_path / "b", other, run)]

    return of


Pair = Callable[..., list[Results]]


@pytest.mark.parametrize(
    ("at", "points"), [(0.7, (-0.3, 0.3)), (0.85, (0.0, 0.4)), (0.3, (-0.8, 0.0))]
)
def test_ranges_that_overlap_or_touch_are_the_same_within_noise(
    pair: Pair, at: float, points: tuple[float, float]
) -> None:
    (found,) = crossover_differences(*machines(pair(sweep(0.7), sweep(at))))
    assert (found.first.estimate.low, found.first.estimate.high) == (0.5, 0.8)
    assert (found.low, found.high) == pytest.approx(points)
    assert (found.verdict, found.notes) == ("same within noise", ())


def test_ranges_that_lie_apart_differ_and_say_by_how_much(pair: Pair) -> None:
    shown = document.of(pair(sweep(0.3), sweep(0.85)))
    (answer,) = shown.answers
    assert "sparse is faster from 0-50 % on A <CPU> | of ours, 4 cores" in answer
    assert "sparse is faster from 80-90 % on Another, 8 cores" in answer
    assert "30 to 90 points later, more than noise" in answer
    (line,) = shown.sections[0].brief[0].frame.to_dict("records")
    assert (line["points later"], line["verdict"]) == ("+30 to +90", "differs")


def test_what_was_not_decided_is_no_difference(pair: Pair) -> None:
    once = [visit for visit in sweep(0.85) if visit.record.process == "p0"]
    (found,) = crossover_differences(*machines(pair(sweep(0.3), once)))
    assert (found.verdict, found.low) == ("not decided", None)
    assert "no difference is decided" in document.of(pair(sweep(0.3), once)).answers[0]


def test_another_workload_is_never_compared(pair: Pair) -> None:
    one, other = machines(pair(sweep(0.7), [*sweep(0.7, batch=256), *sweep(0.7, layer="fc2")]))
    assert crossover_differences(one, other) == []
    assert [each["batch"] for each in only_in(one, other)] == [64]
    with pytest.raises(Exception, match="share no workload"):
        document.of([one.results, other.results])


def test_other_weights_of_the_same_recipe_are_named(pair: Pair) -> None:
    def trained(digest: str) -> list[Visit]:
        return [
            replace(
                visit,
                problem=replace(
                    visit.problem, workload_id=f"{visit.problem.workload_id}{digest}",
                    problem_id=f"{visit.problem.problem_id}{digest}",
                    recipe={**visit.problem.recipe, "digest": digest},
                ),
                record=replace(visit.record, problem_id=f"{visit.problem.problem_id}{digest}"),
            )
            for visit in sweep(0.7)
        ]  # fmt: skip

    (found,) = crossover_differences(*machines(pair(trained("a"), trained("b"))))
    assert found.notes == ("same recipe, other weights",)
    frame = speedup_differences(*machines(pair(trained("a"), trained("b"))))
    assert set(frame["weights"]) == {"other"}


def test_differing_threads_are_named(pair: Pair) -> None:
    (found,) = crossover_differences(*machines(pair(sweep(0.7), sweep(0.7, threads=1))))
    assert found.notes == ("4 threads against 1",)


def test_hot_is_never_compared_with_cold(pair: Pair) -> None:
    assert crossover_differences(*machines(pair(sweep(0.7), sweep(0.7, caches="cold")))) == []


def test_speedups_are_held_against_each_other_with_an_interval(pair: Pair) -> None:
    frame = speedup_differences(*machines(pair(sweep(0.7), sweep(0.85))))
    csr = frame[(frame["kernel"] == "csr") & (frame["network_sparsity"] == 0.9)].iloc[0]
    assert csr["ratio"] == pytest.approx(0.5, rel=0.02)
    assert csr["ratio_low"] < csr["ratio"] < csr["ratio_high"]
    assert csr["verdict"] == "differs"
    assert csr["faster"] == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize(
    ("ratio", "verdict"),
    [(Interval(1.1, 1.2, 1.3), "differs"), (Interval(0.9, 1.0, 1.1), "same within noise"),
     (Interval(0.5, 1.0, 2.0), "not decided"),
     (Interval(float("nan"), 2.0, float("nan")), "not decided"),
     (Interval(1.0, 1.0, 1.0), "not decided")],
)  # fmt: skip
def test_a_ratio_is_judged_by_its_interval(ratio: Interval, verdict: str) -> None:
    assert ratio_verdict(ratio) == verdict


def test_only_conditions_that_differ_are_listed(pair: Pair) -> None:
    names = {line["condition"] for line in differing(machines(pair(sweep(0.7), sweep(0.7))))}
    assert names == {"cpu", "cores"}


def test_equal_machines_are_told_apart_by_their_dates(pair: Pair) -> None:
    later = replace(made.RUN, run_id="r2", started="2026-02-02T00:00:00+00:00")
    names = [each.name for each in machines(pair(sweep(0.7), sweep(0.7), later))]
    assert [name.rpartition(", ")[2] for name in names] == ["2026-01-02", "2026-02-02"]


def test_the_command_writes_a_page_and_json_of_its_schema(
    pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair(sweep(0.3), sweep(0.85))
    paths = str(tmp_path / "a"), str(tmp_path / "b" / "results.sqlite")
    assert main(["compare", *paths, "--out", str(tmp_path / "c"), "--json", "--quiet"]) == 0
    content = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(content, SCHEMA, cls=jsonschema.Draft202012Validator)
    page = (tmp_path / "c" / "compare.html").read_text()
    assert "A &lt;CPU&gt; | of ours" in page
    assert 'data-file="compare-lenet-300-100-forward-hot-cpu.svg"' in page
    assert main(["compare", *paths, "--out", str(tmp_path / "c")]) == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) <= 40


@pytest.mark.parametrize(
    ("places", "says"),
    [(["a", "a"], "is given twice"), (["a"], "one run is no comparison"),
     (["a", "nowhere"], "neither a folder nor a file"), (["a", "a@none"], "has no run 'none'"),
     (["a", "empty"], "holds no results.sqlite"), (["a", "text"], "not a database")],
)  # fmt: skip
def test_what_cannot_be_compared_is_one_line(
    pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str], places: list[str], says: str
) -> None:
    pair(sweep(0.7), sweep(0.7))
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("no database" * 100)
    out = tmp_path / "c"
    assert main(["compare", *(str(tmp_path / each) for each in places), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not out.exists()
