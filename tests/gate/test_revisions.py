"""Kernels of revisions as workers load them: side by side, old ones brought to today's contract."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import IO

import pytest

from crossover.bench.errors import InputError
from crossover.bench.gate.revisions import sides as revisions
from crossover.bench.gate.revisions.checkout import Repository, remove_leftovers, scratch
from crossover.bench.gate.session import GateSpec, compare
from crossover.bench.harness.sources import record
from crossover.bench.records import files
from crossover.bench.records.files import Holder
from crossover.bench.records.store import FILE_NAME, Store
from crossover.kernels import discover
from tests.gate.conftest import Gate
from tests.gate.project import CSR, DENSE, FAMILY, KERNEL, commit, repository, revision

COMPILED = """
import numba

@numba.njit(cache=True)
def doubled(x):
    return 2 * x
"""


def test_each_side_is_a_package_of_its_own(project: Path) -> None:
    base, head = revision(project), revision(project, FAMILY.replace('"Planted"', '"New"'))
    with scratch() as folder:
        exported, *_ = revisions.export(Repository(), (base, head), (), folder)
        kernels = exported.load()
        digests = revisions.digests(exported)
    names = {f"{side}:{kernel}" for side in revisions.SIDES for kernel in (CSR, DENSE)}
    assert set(kernels) == names == {kernel.name for kernel in kernels.values()}
    titles = {name: kernel.title for name, kernel in kernels.items()}
    assert titles[f"head:{CSR}"] == "New"
    assert titles[f"base:{CSR}"] == titles[f"control:{CSR}"] == "Planted"
    assert type(kernels[f"base:{CSR}"]) is not type(kernels[f"control:{CSR}"])
    # Both copies of base are one source, whatever their packages are called.
    assert digests["base"] == digests["control"] != digests["head"]


def test_no_side_shares_compiled_code(project: Path) -> None:
    """Compile times are true: code that one side compiled is of no use to another."""
    numba = pytest.importorskip("numba")
    commit_ = revision(project, FAMILY + COMPILED)
    before = numba.config.CACHE_DIR
    with scratch() as folder:
        exported, *_ = revisions.export(Repository(), (commit_, commit_), (), folder)
        exported.load()
        for each in exported.exported:
            doubled = sys.modules[f"{each.package}.cpu.planted"].doubled
            assert doubled(2) == 4
            assert not doubled.stats.cache_hits
            assert list(each.compiled.rglob("*.nbi")), "kept elsewhere"
    assert before == numba.config.CACHE_DIR


def test_a_kernel_of_ones_own_is_found_without_a_registration(project: Path, gate: Gate) -> None:
    single = """
    def unsupported(self, problem):
        if problem.n != 1:
            return "is for a batch of 1"
        return super().unsupported(problem)
"""
    head = revision(project, FAMILY + KERNEL.format(cls="Mine", name="mine-csr") + single)
    found = gate(head, head)
    cells = {each.name for each in found.findings if each.metric == "time"}
    assert {name for name in cells if "mine-csr" in name} == {"mine-csr fc1 forward batch 1"}
    assert not any("mine-csr" in e.name for e in found.findings if e.metric == "crossover")


OWN = """
from crossover.kernels.base import Weight
from crossover.kernels.cpu.planted import Planted

class Mine(Planted):
    name, title = "mine", "{title}"
"""


def loaded_titles(base: str, head: str) -> dict[str, str]:
    """Return the titles of the user's own kernels by side."""
    with scratch() as folder:
        exported, *_ = revisions.export(Repository(), (base, head), ("mine_own",), folder)
        kernels = exported.load()
        return {n.partition(":")[0]: k.title for n, k in kernels.items() if n.endswith(":mine")}


def test_a_module_of_ones_own_is_each_revisions_where_it_has_it(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = project / "mine_own.py"
    monkeypatch.syspath_prepend(str(project))
    without = revision(project)
    path.write_text(OWN.format(title="old"))
    base = commit(project, "mine")
    path.write_text(OWN.format(title="new"))
    assert loaded_titles(base, "worktree") == {"base": "old", "control": "old", "head": "new"}
    assert loaded_titles(without, base) == {"head": "old"}
    # Elsewhere it is one file for both, on the support code of each.
    path.unlink()
    (tmp_path / "mine_own.py").write_text(OWN.format(title="elsewhere"))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert set(loaded_titles(without, without).values()) == {"elsewhere"}
    with pytest.raises(InputError, match="'no_such' is no Python file"), scratch() as folder:
        revisions.export(Repository(), (base, base), ("no_such",), folder)


def test_real_workers_race_all_sides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, temporary: Path
) -> None:
    """From git to stored rows, with worker processes: three copies, one race."""
    folder = repository(tmp_path / "checkout")
    monkeypatch.chdir(folder)
    monkeypatch.setattr("crossover.bench.studies.conduct.ceilings_of", lambda _: {})
    with pytest.raises(InputError, match="give more --budget"):
        compare(GateSpec("HEAD", budget_s=0.1, threads=1), tmp_path / "out", "gate")
    store = Store(tmp_path / "out" / FILE_NAME, readonly=True)
    visits = store.visits(store.run().run_id)
    store.close()
    # Each workload, and each sparsity of the scan, whatever the budget.
    assert len(visits) >= 4 + 6
    sides = {f"{side}:{kernel}" for side in revisions.SIDES for kernel in (CSR, DENSE)}
    for visit in visits:
        assert set(visit.rows) in (sides, {f"base:{CSR}", f"base:{DENSE}"})
        assert {row.status for row in visit.rows.values()} == {"measured"}
        assert all(row.samples and row.relative_error is not None for row in visit.rows.values())
    assert not list(temporary.iterdir())


HOLD = """
from crossover.bench.gate.revisions.checkout import scratch
with scratch():
    print("ready", flush=True)
    input()
"""


def test_what_a_killed_run_left_is_removed_and_a_live_ones_is_not(temporary: Path) -> None:
    start = ["-c", f"import tempfile\ntempfile.tempdir = {tempfile.gettempdir()!r}\n{HOLD}"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, *start], **pipes)  # type: ignore[call-overload]
    assert process.stdout.readline() == "ready\n"
    with scratch() as mine:
        assert remove_leftovers() == 0, "both still run"
        process.kill()
        process.communicate()
        assert remove_leftovers() == 1
        assert list(temporary.iterdir()) == [mine]


def test_a_run_of_another_container_is_not_removed(temporary: Path) -> None:
    """Its process looks dead from here; its lock does not."""
    with scratch() as theirs:
        lock = theirs / "owner.lock"
        mine = Holder.here("crossover gate")
        there = replace(mine, process=4194304, host="box", namespace="pid:[1]")
        lock.write_text(json.dumps(asdict(there)))
        assert remove_leftovers() == 0
        assert theirs.exists()


def test_a_run_of_another_machine_is_not_removed(temporary: Path) -> None:
    """Where machines share the folder, one may not see the other's locks."""
    folder = temporary / "crossover-gate-of-another"
    folder.mkdir()
    there = replace(Holder.here("crossover gate"), machine="another boot")
    (folder / "owner.lock").write_text(json.dumps(asdict(there)))
    assert remove_leftovers() == 0
    (folder / "owner.lock").write_text(json.dumps(asdict(Holder.here("crossover gate"))))
    assert remove_leftovers() == 1


def test_a_run_that_only_starts_is_not_removed(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    locked = files._locked

    def looked_at(file: IO[str], path: Path) -> bool:
        if not seen:
            seen.append(-1)
            seen[0] = remove_leftovers()  # when its lock is there, and not held yet
        return locked(file, path)

    monkeypatch.setattr(files, "_locked", looked_at)
    with scratch() as folder:
        assert folder.exists()
    assert seen == [0]


def test_a_revision_of_another_contract_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def lacking(_: object) -> None:
        raise AttributeError("'Old' object has no attribute 'role'")

    side = SimpleNamespace(side="base", title="0123 (a title)")
    monkeypatch.setattr(revisions, "in_fresh_process", lacking)
    with pytest.raises(InputError, match=r"base 0123 .* is of another contract"):
        revisions.describe(SimpleNamespace(exported=[side]))  # type: ignore[arg-type]


def test_a_kernel_older_than_a_part_of_the_contract_is_recorded() -> None:
    kernel = discover()["numpy-dense"]

    class Old:
        def __getattr__(self, name: str) -> object:
            if name == "made_for":
                raise AttributeError(name)
            return getattr(kernel, name)

    assert record(Old()).made_for == ""  # type: ignore[arg-type]
