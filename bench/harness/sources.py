"""Where kernels come from: the suite's own, modules of the user's, or those of other revisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from crossover.bench.errors import InputError
from crossover.bench.records.rows import KernelRecord
from crossover.kernels import discover
from crossover.kernels.base import Kernel


class KernelSource(Protocol):
    """What a worker gets its kernels from; it is pickled, and loads them in its own process."""

    def load(self) -> dict[str, Kernel]:
        """Return the kernels by name.

        Raises:
            InputError: if one cannot be loaded.
        """


@dataclass(frozen=True)
class Discovered:
    """Every kernel of this suite, and of ``modules``."""

    modules: tuple[str, ...] = ()

    def load(self) -> dict[str, Kernel]:
        """Return the kernels by name.

        Raises:
            InputError: if a module cannot be imported, or a name is there twice.
        """
        try:
            return discover(self.modules)
        except ValueError as error:
            raise InputError(str(error)) from error


def runnable(source: KernelSource, names: Sequence[str]) -> dict[str, Kernel]:
    """Return all kernels of ``source`` by name, if those of ``names`` can run here.

    Raises:
        InputError: if one is not known or cannot run.
    """
    kernels = known(source, names)
    for name in names:
        if reason := kernels[name].unavailable():
            raise InputError(f"kernel {name!r} cannot run here: {reason}")
    return kernels


def known(source: KernelSource, names: Sequence[str]) -> dict[str, Kernel]:
    """Return all kernels of ``source`` by name, if those of ``names`` are among them.

    Raises:
        InputError: if one is not known.
    """
    kernels = source.load()
    for name in names:
        if name not in kernels:
            raise InputError(
                f"unknown kernel {name!r}: choose from {', '.join(kernels)} (see 'kernels list')"
            )
    return kernels


def record(kernel: Kernel) -> KernelRecord:
    """Return what a kernel declares, as it is kept."""
    arithmetic = kernel.arithmetic.get("float32")
    return KernelRecord(
        name=kernel.name,
        title=kernel.title,
        device=kernel.device,
        format=kernel.format,
        role=kernel.role,
        runtime=kernel.runtime,
        stores_zeros=kernel.stores_zeros,
        # A revision that the gate compares may be older than this part of the contract.
        made_for=getattr(kernel, "made_for", ""),
        arithmetic=arithmetic.name if arithmetic else "",
        source=kernel.source,
        colour=kernel.look.colour,
        marker=kernel.look.marker,
        dash=kernel.look.dash,
    )
