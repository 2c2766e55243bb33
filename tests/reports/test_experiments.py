"""The sentences and tables of experiments, on trainings with planted outcomes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from crossover.bench.records.rows import Row, Visit
from crossover.bench.statistics.intervals import Interval
from crossover.reports.sections import Section
from crossover.reports.views.experiments import VIEWS, cpu_vs_gpu, shown
from tests.reports import made, made_experiments


def section_of(name: str, folder: Path, visits: Iterable[Visit] | None = None) -> Section:
    found = VIEWS[name](
        made.results(folder, visits or made_experiments.EXPERIMENTS[name](), [made.study(name)])
    )
    assert found is not None
    return found


@pytest.mark.parametrize("name", VIEWS)
def test_every_experiment_has_a_view_with_a_plot_and_an_answer_each(
    name: str, tmp_path: Path
) -> None:
    section = section_of(name, tmp_path)
    assert section.sentences
    assert section.plots
    assert all("<svg" in plot.svg for plot in section.plots)
    assert section.record["answers"]


@pytest.mark.parametrize("name", VIEWS)
def test_what_was_only_begun_is_no_error(name: str, tmp_path: Path) -> None:
    visits = list(made_experiments.EXPERIMENTS[name]())
    for count in {1, 2, len(visits) // 2}:
        folder = tmp_path / str(count)
        folder.mkdir(exist_ok=True)
        assert section_of(name, folder, visits[:count]).sentences


@pytest.mark.parametrize("name", VIEWS)
def test_what_failed_is_no_error(name: str, tmp_path: Path) -> None:
    failed = [
        replace(visit, rows={each: Row(each, "failed", "Planted.") for each in visit.rows})
        for visit in made_experiments.EXPERIMENTS[name]()
    ]
    assert section_of(name, tmp_path, failed).sentences


def test_a_rate_is_chosen_by_the_images_held_out(tmp_path: Path) -> None:
    section = section_of("learning-rates", tmp_path)
    gradual, rigl = section.sentences
    assert "gradual: 1 × the usual learning rate errs the least of 1, 4 × while it is" in gradual
    assert "(its dense parent has 1 ×), on 5.00 % (5.00 %" in gradual
    assert "a smaller one was not tried" in gradual
    assert "rigl: 4 × the usual learning rate errs the least of 1, 4 ×, on 8.00 %" in rigl
    assert "beside the usual one's 9.00 %" in rigl
    assert "it is better, by +1.00 [" in rigl
    assert "a larger one was not tried" in rigl
    best = [(each["pattern"], each["rate"]) for each in section.record["answers"] if each["best"]]
    assert best == [("gradual", 1.0), ("rigl", 4.0)]


def test_random_is_worse_than_pruned_and_its_original_weights_are_not_told_apart(
    tmp_path: Path,
) -> None:
    sentences = section_of("random-vs-pruned", tmp_path).sentences
    first, as_dense, second, third, last, of_what = sentences
    assert "a random pattern and 4 times the learning rate of the dense network, the best" in first
    assert "of 2 ways by test error (erdos-renyi) errs on 8.90 % (8.80 % to 9.00 %)" in first
    assert "With the learning rate of the dense network random errs on 19.90 %" in as_dense
    assert "and is worse, by -15.0" in as_dense
    assert "random is worse, by -4.00 [-4.23, -3.77] points (3 seeds, all of MNIST)." in first
    assert "original weights 4.85 % (4.75 % to 4.95 %), which is not distinguishable" in second
    assert "784-38-38-10 95 % gradual" in third
    assert "against a small one that was pruned as far: 8.90 % (8.80 % to 9.00 %) with" in last
    assert "the random one is better, by +6.0" in last
    assert "of these test images" in of_what


def test_pruning_pays_from_a_bracket_and_as_far_as_accuracy_lasts(tmp_path: Path) -> None:
    one, many = section_of("prune-until-it-pays", tmp_path).sentences
    assert "wide, 1 image at a time: sparse is faster than dense from 50-80 % of sparsity" in one
    assert "at 90 % its accuracy is not distinguishably worse than that of the dense" in many
    assert "and it takes 30" in many
    assert "though at" not in many
    made_so = [
        replace(visit, rows={name: worse(row) for name, row in visit.rows.items()})
        if visit.problem.network_sparsity == 0.5
        else visit
        for visit in made_experiments.prune_until_it_pays()
    ]
    (tmp_path / "other").mkdir()
    one, _ = section_of("prune-until-it-pays", tmp_path / "other", made_so).sentences
    assert "), though at 50 % it is, and it takes" in one


def worse(row: Row) -> Row:
    return replace(row, accuracies=[each - 0.1 for each in row.accuracies])


def test_a_headline_sparsity_is_held_against_the_weights_left(tmp_path: Path) -> None:
    section = section_of("headline", tmp_path)
    first, _ = section.sentences
    assert "784-500-500-10 may be pruned to 80 % without being distinguishably worse" in first
    assert "it then has 0.2 times the small one's weights" in first
    chosen = [each["network_sparsity"] for each in section.record["answers"] if each["chosen"]]
    assert chosen == [0.8]


def test_ways_are_told_apart_by_their_intervals(tmp_path: Path) -> None:
    best, quick = section_of("pruning-ways", tmp_path).sentences
    assert "errs the least by gradual (global)" in best
    assert "not distinguishable from it: gradual (layer)" in best
    assert "the fastest is block" in quick


def test_structure_is_worth_what_the_same_entries_elsewhere_cost(tmp_path: Path) -> None:
    first, second = section_of("structure", tmp_path).sentences
    assert "rows share 30 % of their columns, where 10 % of W is left; " in first
    assert "csr 1.20 (faster in 1, slower in 0 of 1)" in second


def test_steps_cross_over_and_stand_beside_nerva(tmp_path: Path) -> None:
    sentences = section_of("training-step", tmp_path).sentences
    (csr,) = [each for each in sentences if "a step by csr is faster" in each]
    assert "wide 50-80 % at batch 100" in csr
    assert "90 % 1 s (csr; Nerva 7.4 s)" in sentences[-1]


def test_an_epoch_is_faster_at_an_accuracy_inside_the_spread(tmp_path: Path) -> None:
    (sentence,) = section_of("epoch", tmp_path).sentences
    assert "an epoch by csr takes 2 s, 4.97 [4.90, 5.05] times as fast as masked" in sentence
    assert "on the same seed differ by 0.00 points at most, inside the 0.20 that seeds" in sentence


def test_results_are_the_same_but_for_the_kernel_that_is_wrong(tmp_path: Path) -> None:
    section = section_of("same-results", tmp_path)
    wrong, sgd, adam, accuracy = section.sentences
    assert wrong == "Wrong results: blocks."
    assert "After 4 steps" in sgd
    assert "all 2 kernels that compute in fp32 are within 3.0e-06" in sgd
    assert "With Adam it is 3.0e-03" in adam
    assert "differ by 0.01 points at most between any two of them" in accuracy
    assert accuracy.endswith("other seeds make 0.40.")


def test_a_gpu_that_is_not_there_is_not_run(tmp_path: Path) -> None:
    visits = list(made_experiments.cpu_vs_gpu(gpu=False))
    section = section_of("cpu-vs-gpu", tmp_path, visits)
    assert section.sentences[0].startswith("Not run: No GPU is here.")
    assert section.plots == []
    assert section.record["answers"][0]["gpu"]["1"]["reason"] == "No GPU is here."


def test_the_cpu_is_held_against_the_gpu_by_batch(tmp_path: Path) -> None:
    results = made.results(tmp_path, made_experiments.cpu_vs_gpu(), [made.study("cpu-vs-gpu")])
    section = cpu_vs_gpu.section(results)
    assert section is not None
    answer = section.record["answers"][0]["gpu"]
    assert answer["1"]["speedup"]["median"] > 1 > answer["64"]["speedup"]["median"]


@pytest.mark.parametrize(
    ("ends", "says"),
    [
        ([(0.5, 0.6), (2, 3), (3, 4)], "is faster than it from 30-50 % of sparsity on"),
        ([(2, 3), (2, 3), (3, 4)], "is faster than it at every sparsity measured, 30 % to 80 %"),
        ([(0.5, 0.6), (0.7, 0.8), (0.8, 0.9)], "is no faster than it at any sparsity"),
        ([(0.9, 1.2), (2, 3), (3, 4)], "is faster than it from 50 % of sparsity on; from 30 % to"),
        ([(0.9, 1.2), (0.9, 1.2), (3, 4)], "is faster than it from 80 % of sparsity on; from 30"),
        ([(0.9, 1.2), (0.9, 1.2), (0.9, 4)], "against it: open in [30, 80] %"),
        ([(0.5, 0.6), (0.9, 1.2), (0.9, 4)], "against it: open in [30, 80] %"),
    ],
)
def test_from_where_on_it_is_faster_is_said_where_it_is_known(
    ends: list[tuple[float, float]], says: str
) -> None:
    points = [
        (sparsity, Interval(low, (low + high) / 2, high))
        for sparsity, (low, high) in zip((0.3, 0.5, 0.8), ends, strict=True)
    ]
    assert says in shown.beats("it", points)
    cell = shown.from_where(points)
    assert cell.startswith("from") == ("it was not decided" in shown.beats("it", points))


def test_seeds_that_failed_are_not_counted() -> None:
    visits = list(made_experiments.pruning_ways())
    assert shown.seeds_of(visits) == "3 seeds"
    last = visits[-1].problem.problem_id
    some = [visit for visit in visits if visit.problem.problem_id != last]
    assert shown.seeds_of(some) == "2 to 3 seeds"
    failed = {name: Row(name, "failed", "Planted.") for name in visits[0].rows}
    assert shown.seeds_of([replace(visits[0], rows=failed), *visits]) == "3 seeds"
    assert shown.seeds_of([]) == "0 seeds"


def test_each_pass_has_a_crossover_of_its_own(tmp_path: Path) -> None:
    section = section_of("training-step", tmp_path)
    (table,) = [each for each in section.tables if "each pass" in each.title]
    (wide,) = [line for line in table.frame.to_dict("records") if line["network"] == "wide"]
    assert wide["forward"] == "50-80 %"
    assert wide["update"] == "never in [50, 95] %"


def test_the_form_that_was_asked_last_is_shown_alone(tmp_path: Path) -> None:
    full = list(made_experiments.headline())
    quick = [replace(e, record=replace(e.record, series="headline quick")) for e in full[:3]]
    later = replace(made.study("headline", "headline quick"), asked_at="2026-01-03")
    asked = [later, made.study("headline")]
    found = VIEWS["headline"](made.results(tmp_path, [*full, *quick], asked))
    assert found is not None
    assert len(found.record["answers"]) == 1
