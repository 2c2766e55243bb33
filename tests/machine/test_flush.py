"""Emptying caches: on every core, as much as it has, and no more than a virtual machine claims."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from crossover.bench.machine import flush
from crossover.bench.machine.cores import CoreThreads, core_count
from crossover.bench.machine.flush import Flusher, bytes_per_core, flusher

MIB = 1 << 20


def test_every_core_has_a_thread_of_its_own_which_stays_there() -> None:
    threads = CoreThreads(core_count())
    seen: dict[int, tuple[int, object]] = {}

    def look(index: int) -> None:
        bound = os.sched_getaffinity(threading.get_native_id())
        seen[index] = threading.get_native_id(), sorted(bound)

    threads.run(look)
    before = dict(seen)
    threads.run(look)
    assert seen == before
    assert len(seen) == len({native for native, _ in seen.values()}) == core_count()
    cores = [cores for _, cores in seen.values()]
    assert all(len(each) == 1 for each in cores)  # type: ignore[arg-type]
    assert len({str(each) for each in cores}) == core_count()
    assert threading.get_native_id() not in {native for native, _ in seen.values()}


def test_work_is_waited_for_and_its_error_is_raised_once() -> None:
    threads = CoreThreads(1)

    def failing(index: int) -> None:
        raise ValueError(f"planted on {index}")

    with pytest.raises(ValueError, match="planted on 0"):
        threads.run(failing)
    done: list[int] = []
    threads.run(done.append)
    assert done == [0]


@pytest.mark.parametrize(
    ("sizes", "sharing", "cores", "expected"),
    [
        # Eight cores share 32 MiB, all of them ours.
        ({"L1": 32 << 10, "L2": MIB, "L3": 32 * MIB}, 8, 64, 5 * MIB),
        # Of the eight, this process has two, which may fill it.
        ({"L1": 32 << 10, "L2": MIB, "L3": 32 * MIB}, 8, 2, 17 * MIB),
        # A virtual machine that claims its host's.
        ({"L1": 48 << 10, "L2": 2 * MIB, "L3": 480 * MIB}, 2, 2, 18 * MIB),
        # One level, or none told.
        ({"L1": 64 << 10, "L2": 4 * MIB}, 1, 8, 20 * MIB),
        ({}, 1, 8, 18 * MIB),
    ],
)
def test_a_core_has_its_own_caches_and_a_part_of_the_last(
    sizes: dict[str, int], sharing: int, cores: int, expected: int
) -> None:
    assert bytes_per_core(sizes, sharing, cores) == expected


@pytest.mark.parametrize(("listed", "expected"), [("0-7\n", 8), ("0-3,8-11\n", 8), ("0\n", 1)])
def test_who_shares_a_cache_is_read(tmp_path: Path, listed: str, expected: int) -> None:
    (tmp_path / "index3").mkdir()
    (tmp_path / "index3" / "shared_cpu_list").write_text(listed)
    assert flush._sharing(tmp_path) == expected
    assert flush._sharing(tmp_path / "nowhere") == 1


def test_every_core_reads_a_room_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Flusher(1 << 12)
    assert len(made._lines) == core_count()
    rooms = {lines.__array_interface__["data"][0] for lines in made._lines}
    assert len(rooms) == core_count()
    # A word of each cache line, on pages that were written to: others are all the same one.
    assert all(lines.strides == (64,) and lines.size == 64 for lines in made._lines)
    assert all((lines == 1).all() for lines in made._lines)
    read: list[int] = []
    monkeypatch.setattr(made, "_read", read.append)
    made()
    assert sorted(read) == list(range(core_count()))


def test_the_flusher_is_made_once() -> None:
    assert flusher() is flusher()


def test_a_chain_goes_through_every_line_once() -> None:
    chain, place, seen = flush._chain(0), 0, set()
    for _ in range(flush._PROBED_LINES):
        seen.add(place)
        place = int(chain[place])
    assert place == 0
    assert len(seen) == flush._PROBED_LINES
    assert {each % 8 for each in seen} == {0}
