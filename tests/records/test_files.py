"""Files are written whole or not at all, by one process at a time."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from crossover.bench.errors import InputError
from crossover.bench.records.files import Holder, cache_folder, sole_writer, write_whole

ROOT = Path(__file__).parents[2]
HOLD = """
import sys, time
from pathlib import Path
from crossover.bench.records.files import sole_writer
with sole_writer(Path(sys.argv[1]), "crossover run --budget 1h"):
    print("held", flush=True)
    time.sleep(60)
"""
#: As a command ends: bad input in a line, and exit code 2.
TAKE = """
import sys
from pathlib import Path
from crossover.bench.errors import InputError
from crossover.bench.records.files import sole_writer
try:
    with sole_writer(Path(sys.argv[1]), "second"):
        print("taken")
except InputError as error:
    print(f"crossover: {error}", file=sys.stderr)
    sys.exit(2)
"""


def take(lock: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", TAKE, str(lock)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_second_writer_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    lock = tmp_path / "new" / "results.lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        second = take(lock)
        assert second.returncode == 2
        assert second.stdout == ""
        (line,) = second.stderr.splitlines()
        assert f"{lock.parent} is in use by crossover run --budget 1h" in line
        assert f"(process {holder.pid} since 20" in line
        assert "wait for it, or use another --out" in line
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        if holder.stdout is not None:
            holder.stdout.close()
    # The system gave the lock up with the process that was killed.
    assert take(lock).stdout == "taken\n"


def test_a_lock_is_given_up_and_says_nothing_of_who_had_it(tmp_path: Path) -> None:
    lock = tmp_path / "results.lock"
    with sole_writer(lock, "first"):
        holder = Holder.of(lock)
        assert holder is not None
        assert (holder.command, holder.process) == ("first", os.getpid())
        with pytest.raises(InputError, match="in use by first"), sole_writer(lock, "second"):
            pass
        assert Holder.of(lock) == holder, "the one refused erased the holder's name"
    assert lock.read_text() == ""
    with sole_writer(lock, "second"):
        pass


def test_a_lock_goes_with_what_is_raised(tmp_path: Path) -> None:
    lock = tmp_path / "results.lock"
    with pytest.raises(RuntimeError), sole_writer(lock, "first"):
        raise RuntimeError
    assert lock.read_text() == ""


def test_a_process_of_another_container_is_named_with_its_host(tmp_path: Path) -> None:
    lock = tmp_path / "results.lock"
    with sole_writer(lock, "crossover run"):
        # Its number may be that of any process here, or of none: the lock alone decides.
        there = replace(Holder.here("crossover run"), process=1, host="box", namespace="pid:[1]")
        lock.write_text(json.dumps(asdict(there)))
        said = r"in use by crossover run \(process 1 in another container or machine, box, since "
        with pytest.raises(InputError, match=said), sole_writer(lock, "second"):
            pass


@pytest.mark.parametrize("text", ["", "no JSON", "[1]", '{"command": "x"}', "7"])
def test_a_lock_file_that_says_nothing_is_held_by_another_process(
    tmp_path: Path, text: str
) -> None:
    lock = tmp_path / "results.lock"
    with sole_writer(lock, "first"):
        lock.write_text(text)
        said = "in use by another process: wait for it"
        with pytest.raises(InputError, match=said), sole_writer(lock, "second"):
            pass
    lock.write_text(text)  # as a killed process of an earlier version left it
    with sole_writer(lock, "second"):
        pass


def test_a_file_system_without_locks_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    said = "No locks available.*keeps no locks"
    with pytest.raises(InputError, match=said), sole_writer(tmp_path / "lock", "first"):
        pass


def test_who_waits_is_told_for_whom_and_goes_on(tmp_path: Path) -> None:
    lock, told = tmp_path / "lock", []
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"

        def wait(who: str) -> None:
            told.append(who)
            holder.kill()

        with sole_writer(lock, "second", wait=wait):
            mine = Holder.of(lock)
    assert mine is not None
    assert mine.command == "second"
    (who,) = told
    assert who.startswith(f"crossover run --budget 1h (process {holder.pid} since ")


def test_a_folder_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is no folder"), sole_writer(tmp_path / "file" / "x", ""):
        pass


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    write_whole(path, "first")
    write_whole(path, b"second")
    assert path.read_text() == "second"
    assert os.stat(path).st_mode & 0o777 == 0o644
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.txt"
    write_whole(path, "old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(InputError, match=r"No space left on device.*: name another"):
        write_whole(path, "new", "name another")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_cache_is_where_it_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROSSOVER_CACHE", "/somewhere")
    assert cache_folder() == Path("/somewhere")
    monkeypatch.delenv("CROSSOVER_CACHE")
    assert cache_folder().name == "sparse-crossover"
