"""The harness, with kernels that misbehave in known ways."""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from crossover.bench.__main__ import main
from crossover.bench.errors import InputError
from crossover.bench.store import FILE_NAME, Store
from crossover.bench.timing import Competitor, HostClock, calibrate, race
from crossover.bench.trial import Outcome

ROOT = Path(__file__).parent.parent
Run = Callable[..., int]


@pytest.fixture
def run(small_mnist: Path, tmp_path: Path) -> Run:
    """Return a function that sweeps one forward cell per layer with the given kernels."""

    def call(*kernels: str, extra: tuple[str, ...] = ()) -> int:
        return main([*command(small_mnist, tmp_path), "--kernels", *kernels, *extra])

    return call


def command(data: Path, out: Path) -> list[str]:
    return [
        "run", "--data", str(data), "--sparsity", "0.9", "--batch", "8", "--passes", "forward",
        "--budget", "0.2s", "--time-limit", "30s", "--kernel-module", "tests.fakes", "--out",
        str(out), "--quiet",
    ]  # fmt: skip


def rows(out: Path) -> pd.DataFrame:
    store = Store(out / FILE_NAME)
    found = store.latest_run()
    assert found is not None
    frame = store.frame(found)
    store.close()
    return frame


def test_fast_and_slow_are_told_apart(run: Run, tmp_path: Path) -> None:
    assert run("numpy-dense", "fake-fast", "fake-slow") == 0
    found = rows(tmp_path)
    assert (found["status"] == "measured").all()
    times = found.groupby("kernel")["samples"].agg(
        lambda all_: np.median(np.concatenate(list(all_)))
    )
    assert times["fake-slow"] > 0.03
    assert times["fake-fast"] < times["fake-slow"]
    assert (
        found.groupby("cell_id")["samples"]
        .agg(lambda each: len({len(s) for s in each}))
        .eq(1)
        .all()
    )


@pytest.mark.parametrize("kernel", ["fake-wrong", "fake-unwritten"])
def test_a_wrong_kernel_is_never_timed_and_exits_3(
    run: Run, tmp_path: Path, kernel: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("numpy-dense", kernel) == 3
    found = rows(tmp_path)
    wrong = found[found["kernel"] == kernel]
    assert (wrong["status"] == "wrong").all()
    assert wrong["reason"].str.contains("results are wrong").all()
    assert not wrong["samples"].map(len).any()
    assert (found[found["kernel"] == "numpy-dense"]["status"] == "measured").all()
    assert f"wrong result: lenet-300-100, fc1, forward, {kernel}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kernel", "status", "reason"),
    [
        ("fake-raising", "failed", "RuntimeError: planted"),
        ("fake-raising-later", "failed", "planted later"),
        ("fake-crashing", "failed", "crashed the worker process (SIGABRT)"),
        ("fake-greedy", "failed", "MemoryError"),
        ("fake-absent", "skipped", "never written"),
    ],
)
def test_a_failure_costs_its_own_row_only(
    run: Run, tmp_path: Path, kernel: str, status: str, reason: str
) -> None:
    assert run(kernel, "numpy-dense", "scipy-csr") == 0
    found = rows(tmp_path)
    failing = found["kernel"] == kernel
    assert len(found) == 9
    assert (found[failing]["status"] == status).all()
    assert found[failing]["reason"].str.contains(reason, regex=False).all()
    assert (found[~failing]["status"] == "measured").all()


def test_a_nan_while_timed_is_a_wrong_result(run: Run, tmp_path: Path) -> None:
    assert run("numpy-dense", "fake-nan-once") == 3
    found = rows(tmp_path).set_index("kernel")
    assert (found.loc["fake-nan-once", "status"] == "wrong").all()
    assert found.loc["fake-nan-once", "reason"].str.contains("NaN").all()
    assert (found.loc["numpy-dense", "status"] == "measured").all()


def test_a_kernel_that_slows_down_is_flagged(run: Run, tmp_path: Path) -> None:
    assert run("numpy-dense", "fake-slowing-down", extra=("--budget", "6s")) == 0
    found = rows(tmp_path)
    slowing = found[found["kernel"] == "fake-slowing-down"]
    assert slowing["doubts"].map(lambda doubts: "drifting" in doubts).all()
    assert "the kernel itself slows down" in (tmp_path / "report.md").read_text()


def test_a_hanging_kernel_is_stopped(run: Run, tmp_path: Path) -> None:
    assert run("numpy-dense", "fake-hanging", extra=("--time-limit", "1.5s")) == 0
    found = rows(tmp_path).set_index("kernel")
    assert (found.loc["fake-hanging", "status"] == "failed").all()
    assert found.loc["fake-hanging", "reason"].str.contains("no answer within 1.5 s").all()
    assert (found.loc["numpy-dense", "status"] == "measured").all()


def test_what_does_not_fit_is_refused_before_it_is_allocated(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("numpy-dense", "fake-vast") == 0
    found = rows(tmp_path).set_index("kernel")
    assert (found.loc["fake-vast", "status"] == "skipped").all()
    assert found.loc["fake-vast", "reason"].str.contains("GiB are free").all()
    assert (found.loc["numpy-dense", "status"] == "measured").all()
    monkeypatch.setattr("crossover.bench.machine.free_bytes", lambda: 10 << 20)
    assert run("numpy-dense", extra=("--again", "--batch", "1", "128")) == 0
    found = rows(tmp_path)
    refused = found[found["status"] == "skipped"]
    assert set(refused["batch"]) == {128}
    assert refused["reason"].str.contains("give a smaller --batch").all()
    assert (found[found["batch"] == 1]["status"] == "measured").any()


def test_the_budget_goes_where_answers_are_widest(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The sweep's clock moves when it is read: a busy machine does as many visits as another.
    ticking = SimpleNamespace(monotonic=itertools.count(0.0, 0.1).__next__)
    monkeypatch.setattr("crossover.bench.sweep.time", ticking)
    assert run("numpy-dense", "fake-unsteady", extra=("--budget", "5s")) == 0
    found = rows(tmp_path)
    visits = found[found["kernel"] == "numpy-dense"].set_index("layer")["visits"].map(len)
    assert visits.sum() > len(visits)  # some cells were visited again
    assert visits["fc3"] == visits.max()  # where fake-unsteady is
    for each in found.itertuples():
        assert sum(each.visits) == len(each.samples)


def test_later_visits_join_the_first() -> None:
    first = Outcome("measured", samples=[1.0, 2.0], visits=[2], loops=4, prepare_s=0.5, busy_s=1.0)
    second = Outcome("measured", samples=[3.0], visits=[1], loops=3, prepare_s=0.7, busy_s=2.0)
    joined = first.joined(second)
    assert joined.samples == [1.0, 2.0, 3.0]
    assert joined.visits == [2, 1]
    assert (joined.loops, joined.prepare_s, joined.busy_s) == (3, 0.5, 3.0)
    failing = joined.joined(Outcome("failed", "planted"))
    assert (failing.status, failing.reason) == ("failed", "planted")


def test_nothing_measured_exits_2(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fake-absent") == 2
    assert "nothing was measured" in capsys.readouterr().err


def test_the_same_command_measures_only_what_is_missing(run: Run, tmp_path: Path) -> None:
    assert run("numpy-dense") == 0
    before = rows(tmp_path)
    assert run("numpy-dense") == 0
    pd.testing.assert_frame_equal(rows(tmp_path), before)
    assert run("numpy-dense", "scipy-csr") == 0
    after = rows(tmp_path)
    assert len(after) == 2 * len(before)
    assert run("numpy-dense", extra=("--again",)) == 0
    assert set(rows(tmp_path)["measured_at"]).isdisjoint(after["measured_at"])


def test_kill_9_loses_at_most_one_cell(small_mnist: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    arguments = [*command(small_mnist, tmp_path), "--kernels", "fake-logging", "numpy-dense"]
    arguments += ["--batch", *map(str, range(1, 9)), "--budget", "12s"]
    environment = os.environ | {"FAKE_LOG": str(log), "PYTHONPATH": str(ROOT)}

    def start() -> subprocess.Popen[bytes]:
        # In its own process group, so that the worker is not killed with it by accident.
        return subprocess.Popen(
            [sys.executable, "-m", "bench", *arguments],
            cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    first = start()
    deadline = time.monotonic() + 120
    while not log.exists() or len(log.read_text().splitlines()) < 6:
        assert first.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.wait()
    started = len(log.read_text().splitlines())
    kept = rows(tmp_path)
    cells = kept["cell_id"].nunique()
    assert started - 1 <= cells <= started
    assert len(kept) == 2 * cells
    assert start().wait() == 0
    after = rows(tmp_path)
    assert after["cell_id"].nunique() == 24
    # Each row says when it was measured: what was kept was not measured again.
    pd.testing.assert_frame_equal(after.iloc[: len(kept)], kept)


def test_a_full_disk_ends_in_one_line(small_mnist: Path, tmp_path: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (16384, 16384));"
    code = f"{limit} import sys; from crossover.bench.__main__ import main; sys.exit(main())"
    main([*command(small_mnist, tmp_path / "train"), "--kernels", "numpy-dense"])
    done = subprocess.run(
        [sys.executable, "-c", code, *command(small_mnist, tmp_path / "full"),
         "--kernels", "numpy-dense"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "free space" in done.stderr


def test_calibration_reaches_the_sample_length() -> None:
    competitor = Competitor(lambda: None, HostClock())
    calibrate(competitor, 2e-4)
    assert competitor.loops > 100
    assert competitor.clock.seconds(competitor.call, competitor.loops)[0] > 5e-5


def test_cold_and_hot_are_two_measurements(run: Run, tmp_path: Path) -> None:
    assert run("numpy-dense", "scipy-csr", extra=("--caches", "hot", "cold")) == 0
    found = rows(tmp_path)
    assert (found["status"] == "measured").all()
    assert sorted(found.groupby("temperature").size()) == [6, 6]
    assert found["cell_id"].nunique() == 6
    assert (found[found["temperature"] == "cold"]["loops"] <= 5).all()
    text = (tmp_path / "report.md").read_text()
    assert "threads, hot" in text
    assert "threads, cold" in text


def test_the_caches_are_emptied_before_each_cold_call() -> None:
    class Clock(HostClock):
        def seconds(self, call: Callable[[], object], loops: int) -> tuple[float, object]:
            events.append("timed")
            return super().seconds(call, loops)

    events: list[str] = []
    flush, call = (lambda: events.append("flush")), (lambda: events.append("call"))
    competitor = Competitor(call, Clock(), flush=flush)
    race({"only": competitor}, 0.0, np.random.default_rng(0), lambda _: None, (1, 1))
    assert events.count("timed") == 1 + competitor.loops  # one to calibrate
    for before, event, after in zip(events, events[1:], events[2:], strict=False):
        if event == "timed":
            assert (before, after) == ("flush", "call")
    assert len(competitor.samples) == 1


def test_a_round_times_each_competitor_once_in_random_order() -> None:
    class Clock:
        """Counts calls instead of seconds."""

        def __init__(self, name: str) -> None:
            self.name = name
            self.most_loops = 1

        def seconds(self, call: Callable[[], object], loops: int) -> tuple[float, object]:
            order.append(self.name)
            return 1.0, call()

    order: list[str] = []
    told: list[str] = []
    competitors = {name: Competitor(lambda: None, Clock(name)) for name in "abcd"}
    race(competitors, 1e-9, np.random.default_rng(0), told.append)
    assert told == order
    turns = order[4:]
    rounds = [tuple(turns[i : i + 4]) for i in range(0, len(turns), 4)]
    assert all(set(each) == set("abcd") for each in rounds)
    assert len(set(rounds)) > 1
    assert all(len(c.samples) == len(rounds) for c in competitors.values())


def test_another_schema_is_refused_by_name_and_version(tmp_path: Path) -> None:
    Store(tmp_path / FILE_NAME).close()
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(InputError, match=r"results\.sqlite has schema version 99"):
        Store(tmp_path / FILE_NAME)


def test_a_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("not a database, but long enough to be looked at" * 100)
    with pytest.raises(InputError, match="damaged, or no results file"):
        Store(tmp_path / FILE_NAME)
    connection = sqlite3.connect(tmp_path / "other.sqlite")
    connection.execute("CREATE TABLE mine (a)")
    connection.close()
    with pytest.raises(InputError, match="not a results file"):
        Store(tmp_path / "other.sqlite")
