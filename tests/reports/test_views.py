"""Each view, on visits with planted times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crossover.bench.records.rows import Row, Visit
from crossover.bench.statistics.comparison import contests
from crossover.bench.statistics.search_answers import FASTEST
from crossover.reports.crossovers import crossovers
from crossover.reports.metrics import measured
from crossover.reports.results import Results
from crossover.reports.sections import Section
from crossover.reports.tables import Table
from crossover.reports.views import peers, regret, scaling, search, selfcheck, step, sweep
from tests.reports import made

VIEWS = {"sweep": sweep, "search": search, "peers": peers, "step": step, "scaling": scaling,
         "regret": regret, "selfcheck": selfcheck}  # fmt: skip


def section_of(name: str, results: Results) -> Section:
    found: Section | None = VIEWS[name].section(results)
    assert found is not None
    return found


def lines(table: Table) -> list[dict[Any, Any]]:
    return list(table.frame.to_dict("records"))


@pytest.mark.parametrize("name", VIEWS)
def test_nothing_stored_is_no_section(name: str, tmp_path: Path) -> None:
    other = made.visit("another", made.problem(), {"csr": 1e-4})
    results = made.results(tmp_path, [other], [made.study("another"), made.study(name)])
    assert VIEWS[name].section(results) is None


@pytest.mark.parametrize("name", VIEWS)
def test_nothing_that_ran_is_shown_all_the_same(name: str, tmp_path: Path) -> None:
    """A kernel that failed everywhere is an answer, too."""
    computes = "step" if name == "step" else "forward"
    failed = Row("csr", "failed", "Planted.")
    series = {"selfcheck": "selfcheck sweep"}.get(name, name)
    about = made.problem(computes=computes)
    results = made.results(
        tmp_path,
        [made.visit(series, about, {"blas": Row("blas", "failed", "Too."), "csr": failed})],
        [made.study(name, series, confidence=0.95, width=0.02)],
    )
    assert section_of(name, results).sentences


def test_a_sentence_per_batch_begins_with_the_largest_layer_at_the_middle_one(
    everything: Results,
) -> None:
    first, second = section_of("sweep", everything).sentences
    assert first.startswith("lenet-300-100, 256 images: on fc1 (300 × 784) csr beats the fastest")
    assert "dense kernel (blas) from 50-80 %" in first
    assert second.startswith("lenet-300-100, 64 images: on fc1")


def test_a_sweep_has_crossovers_of_the_fastest_and_of_each(everything: Results) -> None:
    section = section_of("sweep", everything)
    answers = section.record["answers"]
    assert [(a["kernel"], a["layer"], a["batch"], a["estimate"]["text"]) for a in answers] == [
        (FASTEST, "fc3", 256, "never in [0, 95] %"), (FASTEST, "fc1", 64, "50-80 %"),
        (FASTEST, "fc1", 256, "50-80 %"), ("csr", "fc3", 256, "never in [0, 95] %"),
        ("csr", "fc1", 64, "50-80 %"), ("csr", "fc1", 256, "50-80 %"),
    ]  # fmt: skip
    assert answers[0]["top_kernel"] == "csr"
    assert answers[0]["baselines"] == ["blas"]
    networks = next(table for table in section.tables if table.title == "Networks")
    assert lines(networks)[-1]["fewer"] == "20.0 ×"


def test_patterns_do_not_share_a_crossover(tmp_path: Path) -> None:
    visits = [
        each
        for pattern in ("gradual", "block")
        for s in (0.0, 0.8, 0.9)
        for each in made.visits(
            "sweep", made.problem(s, pattern=pattern if s else "dense"),
            {"blas": 1e-4, "csr": (3e-4 if pattern == "block" or not s else 5e-5)},
        )
    ]  # fmt: skip
    found = made.results(tmp_path, visits, [made.study("sweep")])
    kinds = {
        (each.kernel, each.place["pattern"]): str(each.estimate)
        for each in crossovers(measured(found, contests(visits, found.kernels)))
    }
    assert kinds == {
        (FASTEST, "gradual"): "0-80 %", (FASTEST, "block"): "never in [0, 90] %",
        ("csr", "gradual"): "0-80 %", ("csr", "block"): "never in [0, 90] %",
    }  # fmt: skip


def test_the_fastest_sparse_kernel_may_be_another_at_each_sparsity(tmp_path: Path) -> None:
    def visits_to(sparsity: float, csr: float, blocks: float) -> list[Visit]:
        times = {"blas": 1e-4, "csr": csr, "blocks": blocks}
        return made.visits("sweep", made.problem(sparsity), times)

    points = (0.5, 2e-4, 3e-4), (0.8, 2e-4, 5e-5), (0.9, 1e-5, 5e-5)
    visits = [visit for point in points for visit in visits_to(*point)]
    found = made.results(tmp_path, visits, [made.study("sweep")])
    texts = {
        e.kernel: (str(e.estimate), e.top_kernel)
        for e in crossovers(measured(found, contests(visits, found.kernels)))
    }
    assert texts == {
        FASTEST: ("50-80 %", "csr"), "csr": ("80-90 %", "csr"), "blocks": ("50-80 %", "blocks"),
    }  # fmt: skip


def test_whoever_may_round_has_a_crossover_of_their_own(tmp_path: Path) -> None:
    visits = [
        visit
        for sparsity, csr in ((0.5, 8e-5), (0.8, 5e-5), (0.9, 2e-5))
        for visit in made.visits(
            "sweep", made.problem(sparsity), {"blas": 1e-4, "half-dense": 3e-5, "csr": csr}
        )
    ]
    section = section_of("sweep", made.results(tmp_path, visits, [made.study("sweep")]))
    assert "beats the fastest dense kernel (blas) at every sparsity" in section.sentences[0]
    assert "Whoever may round (half-dense): fc1 80-90 %" in section.sentences[-1]
    (part,) = [each for each in section.parts if each.title == "For whoever may round"]
    (line,) = part.grids[0].frame.to_dict("records")
    assert line["rounding"] == "80-90 %"
    assert line["fp32"] == "always in [50, 90] %"
    assert line["over"] == "half-dense"


def test_the_plot_has_the_looks_that_kernels_declare(everything: Results) -> None:
    name = "speedup-lenet-300-100-cpu-4-hot-forward.svg"
    (plot,) = (each for each in section_of("sweep", everything).plots if each.file == name)
    assert plot.svg.startswith("<svg")
    for text in ("#0072b2", "#8a929b", "csr", "masked", "50-80 %", "crossover at the ceilings"):
        assert text in plot.svg
    assert "blas<" not in plot.svg
    assert {"csr", "masked"} <= set(plot.data["kernel"])


def test_a_search_finds_what_was_planted(everything: Results) -> None:
    section = section_of("search", everything)
    (answer,) = section.record["answers"]
    assert answer["estimate"]["text"] == "70-80 %"
    assert answer["baselines"] == ["blas", "other-dense"]
    assert answer["break_even"]["sparsity"] == 0.99
    assert [probe["sparsity"] for probe in answer["probes"]] == [0.0, 0.5, 0.7, 0.8, 0.9, 0.99]
    (line,) = lines(section.tables[0])
    assert line["against"] == "blas or other-dense"
    assert line["crossover (95 %)"] == "70-80 %"
    assert answer["open"]
    assert "1 could be narrower" in section.sentences[1]


def test_a_search_is_shown_at_the_confidence_it_was_asked_with(tmp_path: Path) -> None:
    asked = made.study("search", confidence=0.8, width=0.2)
    results = made.results(tmp_path, made.search(), [asked])
    section = section_of("search", results)
    assert "crossover (80 %)" in section.tables[0].frame
    assert section.record["answers"][0]["estimate"]["confidence"] == 0.8


def test_a_search_that_failed_says_why(tmp_path: Path) -> None:
    failed: dict[str, float | Row] = {"blas": 1e-4, "csr": Row("csr", "wrong", "Planted.")}
    visits = [made.visit("search", made.problem(0.5), failed)]
    asked = [made.study("search", confidence=0.95, width=0.02)]
    section = section_of("search", made.results(tmp_path, visits, asked))
    assert lines(section.tables[0])[0]["crossover (95 %)"] == "failed: csr: Planted."
    assert section.record["answers"][0]["estimate"] is None
    assert section.sentences[-1] == "1 ended with a kernel that failed."


def test_peers_are_the_fastest_of_their_role(everything: Results) -> None:
    section = section_of("peers", everything)
    assert section.sentences[0].startswith("csr is 4.2")
    assert "faster in 2); worst 3.0" in section.sentences[0]
    (line,) = lines(section.tables[0])
    assert line["matrices"] == "squares"
    assert line["worst"].endswith("(1024x1024 at 90 %, batch 64; library-csr)")
    assert float(line["× fastest dense"]) == pytest.approx(40**0.5, rel=0.02)
    first, second = section.record["answers"]
    assert (first["peer"], first["dense"]) == ("library-csr", "blas")
    assert first["over_peer"]["median"] == pytest.approx(6, rel=0.02)
    assert second["over_dense"]["median"] == pytest.approx(10, rel=0.02)


def test_without_a_peer_the_dense_kernel_is_left(tmp_path: Path) -> None:
    visits = [made.visit("peers", made.problem(), {"csr": 1e-5, "blas": 2e-5})]
    section = section_of("peers", made.results(tmp_path, visits, [made.study("peers")]))
    assert section.sentences == ["None of our kernels was measured beside a peer."]
    assert "worst" not in section.tables[0].frame
    assert section.record["answers"][0]["over_peer"]["median"] is None


def test_a_step_is_held_against_the_masked_dense_one(everything: Results) -> None:
    section = section_of("step", everything)
    first, second = lines(section.tables[0])
    assert (first["kernel"], second["kernel"]) == ("csr", "masked")
    assert first["fastest masked dense"] == "masked"
    assert first["× fastest masked dense"].startswith("3.0")
    assert first["passes and updates alone"] == "4.00 [4.00, 4.00]"
    assert section.tables[0].title.endswith("untrained weights of which the largest stay")
    assert "csr takes a step in" in section.sentences[0]
    csr, _, blocks = section.record["answers"]
    assert csr["optimizer"] == "sgd"
    assert csr["speedup"] == pytest.approx(3, rel=0.03)
    assert csr["speedup_inside"] == pytest.approx(4)
    assert (blocks["status"], blocks["reason"]) == ("failed", "Planted.")


def test_threads_are_paired_by_visits(everything: Results) -> None:
    section = section_of("scaling", everything)
    first, second = section.record["answers"]
    assert first["speedup"]["median"] == pytest.approx(1, rel=0.01)
    assert second["speedup"]["median"] == pytest.approx(2, rel=0.01)
    assert second["speedup"]["low"] < 2 < second["speedup"]["high"]
    assert second["speedup"]["high"] - second["speedup"]["low"] < 0.1
    assert (second["threads"], second["pairs"]) == (4, 8)
    assert section.sentences[0].startswith("csr on 4 threads is 1.4")
    assert "least 1.0" in section.sentences[0]
    assert [line["× one thread (95 %)"][:3] for line in lines(section.tables[0])] == ["1.0", "2.0"]


def test_a_pair_drifts_together(tmp_path: Path) -> None:
    """A machine that gets slower from visit to visit moves no ratio of a pair."""
    visits = [
        made.visit("scaling", made.problem(threads=threads), {"csr": 1e-4 * 1.3**seed / threads},
                   process=f"p{seed}")
        for seed in range(8)
        for threads in (1, 4)
    ]  # fmt: skip
    results = made.results(tmp_path, visits, [made.study("scaling")])
    (found,) = scaling.scaled(results)
    assert found.speedup.high - found.speedup.low < 0.1


def test_regret_is_over_the_best_choice_of_the_other_visits(tmp_path: Path) -> None:
    """A choice that was quick once, by luck, is not the best."""
    quick = [
        made.visit("regret", made.problem(0.9), {"csr": 1.2e-5, "blocks": 1e-5,
                   "numba-csr": 5e-6 if lucky else 2e-5}, seed)
        for seed, lucky in enumerate((True, False, False))
    ]  # fmt: skip
    level = made.visits("regret", made.problem(0.5), {"csr": 1e-5, "blocks": 1.5e-5})
    study = made.study("regret", kernel="csr")
    section = section_of("regret", made.results(tmp_path, [*quick, *level], [study]))
    first, second = sorted(section.record["answers"], key=lambda each: -each["regret"]["median"])
    assert first["regret"]["median"] == pytest.approx(1.2, rel=0.02)
    assert (first["best"], first["choices"]) == ("blocks", 3)
    assert second["regret"]["median"] == pytest.approx(1, abs=1e-9)
    assert second["best"] == "csr"
    (sentence,) = section.sentences
    assert "in 1 of 2 problems" in sentence
    assert "worst 1.20 ×" in sentence


def test_the_self_check_counts_its_verdicts(everything: Results) -> None:
    section = section_of("selfcheck", everything)
    assert section.sentences == ["2 of 8 checks passed; 6 not run."]
    verdicts = {answer["name"]: answer["verdict"] for answer in section.record["answers"]}
    assert verdicts["a kernel against itself (A/A)"] == "passed"
