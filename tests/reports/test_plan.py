"""What is shown of plans, and of networks that are served."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossover.reports import page
from crossover.reports.views import plan
from tests.reports import made


def test_a_plan_is_held_against_the_fastest_dense_one_and_against_its_parts(
    tmp_path: Path,
) -> None:
    results = made.results(tmp_path, made.plan(), [made.study("plan layers"), made.study("plan")])
    one, middle, large = plan.verified(results)
    assert [e.problem.batch for e in (one, middle, large)] == [1, 64, 256]
    for each, faster in ((one, 2.0), (middle, 4.0), (large, 1.0)):
        assert each.dense is not None
        assert each.dense.kernel.name == "numpy-network"
        assert each.speedup.median == pytest.approx(faster, rel=0.02)
    # Products of one thread less a call each, and the glue; or of four threads, calls and all.
    assert one.predicted_s == pytest.approx(3e-6 + 1e-6 - 2 * 5e-7 + 1e-6, rel=0.02)
    assert middle.predicted_s == pytest.approx(3e-6 + 3e-6 + 1e-6, rel=0.02)
    assert large.plan.way == "dense"
    assert large.predicted_s != large.predicted_s
    assert [layer.runner_up for layer in middle.plan.layers] == ["blas", "csr"]


def test_its_sentence_says_where_it_pays_and_what_limits_it(tmp_path: Path) -> None:
    results = made.results(tmp_path, made.plan(), [made.study("plan layers"), made.study("plan")])
    (section,) = page.sections(results)
    (sentence,) = section.sentences
    assert sentence.startswith("mine, 90 % zeros, 3.00 % error, by its plan: 1.99 [")
    assert "dense stays at batch 256" in sentence
    assert "at batch 64 fc1 limits it" in sentence


def test_where_no_plan_pays_it_says_so(tmp_path: Path) -> None:
    slow = [
        made.visit("plan", visit.problem, {"planned": 3e-5, "numpy-network": 2e-5}, seed)
        for seed, visit in enumerate(v for v in made.plan() if v.problem.computes == "network")
    ]
    results = made.results(tmp_path, slow, [made.study("plan")])
    (section,) = page.sections(results)
    assert "no plan was faster than all dense" in section.sentences[0]


def test_callers_wait_so_long(tmp_path: Path) -> None:
    results = made.results(tmp_path, made.serving(), [made.study("serve-check")])
    (section,) = page.sections(results)
    (sentence,) = section.sentences
    assert "mine, 4 callers at a time: batch 64: 1.99 [" in sentence
    assert "99 of 100 within 90 µs" in sentence
    ours = next(e for e in section.record["answers"] if e["engine"] == "planned")
    assert ours["p50_s"] == pytest.approx(4e-5)
    assert ours["inputs_per_s"] == pytest.approx(6.4e6, rel=0.02)
