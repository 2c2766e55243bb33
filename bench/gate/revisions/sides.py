"""Kernels of two revisions in one worker: base twice, the second time as the A/A control, and head.

Each copy is a package of its own, with compiled code of its own, and its kernels are called
``base:numba-tiled``, ``control:numba-tiled`` and ``head:numba-tiled``: so they compete in one race.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Iterable
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from crossover.bench.errors import InputError, one_line
from crossover.bench.gate import preset
from crossover.bench.gate.preset import Point
from crossover.bench.gate.revisions.checkout import (
    KERNELS,
    Repository,
    Version,
    digest_of,
    module_file,
)
from crossover.bench.harness.environment import in_fresh_process
from crossover.bench.harness.sources import record
from crossover.bench.records.rows import KernelRecord
from crossover.kernels.base import Kernel

Side = Literal["base", "control", "head"]
SIDES: tuple[Side, ...] = get_args(Side)
_OUR_PACKAGE = re.compile(r"\bcrossover\.kernels\b")


@dataclass(frozen=True)
class Exported:
    """One copy of a revision's kernels."""

    side: Side
    title: str
    #: Holds the package and the modules, and is put on Python's path.
    folder: Path
    package: str
    #: Modules of the user's own.
    modules: tuple[str, ...]
    #: Numba keeps what it compiles of them here.
    compiled: Path

    def load(self) -> list[Any]:
        """Return the kernels, named by their side.

        Raises:
            InputError: if they cannot be loaded.
        """
        import numba  # here, where the worker's environment says with how many threads

        before = numba.config.CACHE_DIR
        numba.config.CACHE_DIR = str(self.compiled)
        # Both versions with the shapes that a model predicts, not one with a lucky measurement.
        os.environ["CROSSOVER_TUNING"] = "model"
        if str(self.folder) not in sys.path:
            sys.path.append(str(self.folder))
        try:
            package = importlib.import_module(self.package)
            kernels = list(package.discover(self.modules).values())
        except (Exception, SystemExit) as error:  # whatever its modules do as they are imported
            raise InputError(self._unloadable(f"{type(error).__name__}: {error}")) from error
        finally:
            numba.config.CACHE_DIR = before
        for kernel in kernels:
            kernel.name = f"{self.side}:{one_line(kernel.name)}"
        return kernels

    def _unloadable(self, why: str) -> str:
        if not (self.folder / self.package).is_dir():
            why = f"it has no folder {KERNELS}"
        return f"{self.side} {self.title} cannot be loaded ({one_line(why)}): name another revision"


@dataclass(frozen=True)
class Revisions:
    """The kernels of every side: what a worker of the gate loads."""

    exported: tuple[Exported, ...]

    def load(self) -> dict[str, Kernel]:
        """Return all kernels by name.

        Raises:
            InputError: if a side's cannot be loaded.
        """
        return {kernel.name: kernel for each in self.exported for kernel in each.load()}

    def only(self, *sides: Side) -> Revisions:
        """Return the kernels of some sides alone."""
        return Revisions(tuple(each for each in self.exported if each.side in sides))

    def compiled_in(self, folder: Path) -> Revisions:
        """Return them with nothing compiled yet: code is kept in ``folder``, each side apart."""
        return Revisions(
            tuple(replace(each, compiled=folder / each.side) for each in self.exported)
        )


@dataclass(frozen=True)
class Declared:
    """What a kernel of one side declares, as far as the gate asks."""

    record: KernelRecord
    points: tuple[Point, ...]
    #: Whether its class derives from that of another kernel.
    variant: bool


def export(
    repository: Repository,
    revisions: tuple[str, str],
    modules: tuple[str, ...],
    folder: Path,
) -> tuple[Revisions, Version, Version]:
    """Return the kernels of base and head, exported to ``folder``, and the versions.

    Raises:
        InputError: if a revision is none.
    """
    files = [(module, module_file(module)) for module in modules]
    versions = [repository.version(revision) for revision in revisions]
    base, head = revisions
    copies: list[tuple[Side, str, Version]] = [
        ("base", base, versions[0]),
        ("control", base, versions[0]),
        ("head", head, versions[1]),
    ]
    exported = [
        _export(repository, side, revision, version, files, folder)
        for side, revision, version in copies
    ]
    return Revisions(tuple(exported)), versions[0], versions[1]


def _export(
    repository: Repository,
    side: Side,
    revision: str,
    version: Version,
    files: Iterable[tuple[str, Path]],
    folder: Path,
) -> Exported:
    """Return the kernels of one side, under a name that no other gate of this process has."""
    target = folder / side
    target.mkdir()
    package = re.sub(r"\W", "_", f"{folder.name}_{side}")
    if repository.export(revision, KERNELS, target):
        (target / KERNELS).rename(target / package)
    modules = []
    for module, path in files:
        source = _source(repository, revision, path, folder / f"{side}-own")
        if source is not None:
            modules.append(f"{package}_own_{module.replace('.', '_')}")
            (target / f"{modules[-1]}.py").write_text(source)
    for path in target.rglob("*.py"):
        path.write_text(_OUR_PACKAGE.sub(package, path.read_text()))
    return Exported(
        side, version.title, target, package, tuple(modules), folder / "compiled" / side
    )


def _source(repository: Repository, revision: str, path: Path, folder: Path) -> str | None:
    """Return a module's source: the revision's own, if it is a file of the repository."""
    if not path.is_relative_to(repository.root):
        return path.read_text()
    name = path.relative_to(repository.root).as_posix()
    return (folder / name).read_text() if repository.export(revision, name, folder) else None


def digests(revisions: Revisions) -> dict[Side, str]:
    """Return the hash of each side's source, as it is exported now."""
    return {each.side: digest_of(each.folder, each.package) for each in revisions.exported}


def describe(revisions: Revisions) -> dict[str, Declared]:
    """Return what the gated kernels of ``revisions`` declare, by name; in a process of its own.

    Raises:
        InputError: if a side cannot be loaded.
    """
    try:
        found: dict[str, Declared] = in_fresh_process(partial(_describe, revisions))
    except AttributeError as error:
        (title, *_) = (f"{each.side} {each.title}" for each in revisions.exported)
        raise InputError(
            f"{title} is of another contract ({error}): name a revision that fulfils today's"
        ) from error
    except BrokenProcessPool as error:
        (title, *_) = (f"{each.side} {each.title}" for each in revisions.exported)
        raise InputError(
            f"{title} cannot be loaded (it ends the process that loads it): name another revision"
        ) from error
    return found


def _describe(revisions: Revisions) -> dict[str, Declared]:
    kernels = revisions.load()
    classes = {type(kernel) for kernel in kernels.values()}
    return {
        name: Declared(
            _clean(record(kernel)),
            preset.points(kernel),
            variant=any(each in classes for each in type(kernel).__mro__[1:]),
        )
        for name, kernel in kernels.items()
        if preset.is_gated(kernel)
    }


def _clean(declared: KernelRecord) -> KernelRecord:
    """Return a record whose texts, which a revision wrote, fit into every output."""
    fields: dict[str, Any] = {
        name: one_line(value) if isinstance(value, str) else value
        for name, value in vars(declared).items()
    }
    return KernelRecord(**fields)
