"""``kernels``: those there are, why some cannot run here, and what one chooses for a shape."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from crossover.bench.commands.output import EXIT_FINE, print_table
from crossover.bench.harness.sources import Discovered, runnable
from crossover.bench.options import common
from crossover.bench.options.declaration import add_options, from_options, option
from crossover.bench.options.parser import add_command, add_group
from crossover.bench.options.values import shape, share
from crossover.bench.studies.kernels.considered import considered
from crossover.bench.workloads.matrices import RandomMatrix
from crossover.kernels.base import PASSES, Kernel, Pass, Problem, Weight

_JSON = "print JSON"
# Of what a kernel might have chosen instead: the best.
_MOST_SHOWN = 5


@dataclass(frozen=True)
class ListOptions:
    """Which kernels are listed, and how."""

    modules: tuple[str, ...] = common.modules()
    json: bool = option(False, "--json", help=_JSON)


@dataclass(frozen=True)
class ExplainOptions:
    """What a kernel is asked about."""

    shapes: tuple[tuple[int, int], ...] = option(
        ((300, 784),), "--shape", metavar="MxK", convert=shape, help="outputs x inputs"
    )
    sparsity: float = option(0.9, "--sparsity", metavar="S", convert=share, help="of the weight")
    pattern: Literal["random", "block"] = option(
        "random", "--pattern", choices=("random", "block"), help="which entries stay"
    )
    batches: tuple[int, ...] = common.batches((1, 64, 256))
    passes: tuple[Pass, ...] = common.passes(("forward",), "forward")
    seed: int = common.seed()
    modules: tuple[str, ...] = common.modules()
    json: bool = option(False, "--json", help=_JSON)


def add(commands: Any) -> None:
    """Add the command to ``commands``."""
    group = add_group(commands, "kernels", "the kernels there are")
    lister = add_command(group, "list", help="name, device, format, passes, availability")
    add_options(lister, ListOptions)
    lister.set_defaults(run=_list)
    explainer = add_command(
        group,
        "explain",
        help="what a kernel chooses for a shape, and why",
        epilog="example: crossover kernels explain numba-tiled --shape 300x784 --sparsity 0.9",
    )
    explainer.add_argument("name", metavar="NAME", help="see 'kernels list'")
    add_options(explainer, ExplainOptions)
    explainer.set_defaults(run=_explain)


def _list(options: argparse.Namespace, command: str) -> int:
    asked = from_options(ListOptions, options)
    kernels = Discovered(asked.modules).load()
    absent = {name: why for name, kernel in kernels.items() if (why := kernel.unavailable())}
    if asked.json:
        print_table([_detailed(k, absent.get(n, "yes")) for n, k in kernels.items()], as_json=True)
        return EXIT_FINE
    there = [_listed(kernel) for name, kernel in kernels.items() if name not in absent]
    print_table(there, as_json=False)
    for reason in dict.fromkeys(absent.values()):
        names = ", ".join(name for name, why in absent.items() if why == reason)
        print(f"not here: {names}: {reason}")
    return EXIT_FINE


def _listed(kernel: Kernel) -> dict[str, str]:
    return {
        "name": kernel.name,
        "role": kernel.role,
        "device": kernel.device,
        "format": kernel.format,
        "arithmetic": ", ".join(each.name for each in kernel.arithmetic.values()),
        "passes": "all" if kernel.passes == PASSES else ", ".join(kernel.passes),
    }


def _detailed(kernel: Kernel, available: str) -> dict[str, str]:
    more = {"title": kernel.title, "source": kernel.source, "runtime": kernel.runtime}
    return _listed(kernel) | {"available": available} | more


def _explain(options: argparse.Namespace, command: str) -> int:
    asked = from_options(ExplainOptions, options)
    kernel = runnable(Discovered(asked.modules), [options.name])[options.name]
    lines = [line for each in asked.shapes for line in _explanation(kernel, asked, each)]
    print_table(lines, asked.json)
    return EXIT_FINE


def _explanation(
    kernel: Kernel, asked: ExplainOptions, shape: tuple[int, int]
) -> Iterator[dict[str, object]]:
    """Yield what was chosen for a weight of ``shape`` (m, k), and what it takes to hold it."""
    m, k = shape
    weight = RandomMatrix("", m, k, asked.sparsity, asked.pattern, asked.seed).weight()
    operand = kernel.prepare(weight)
    named: dict[str, object] = {"shape": f"{m} × {k}"}
    for pass_, n in itertools.product(asked.passes, asked.batches):
        where = named | {"pass": pass_, "batch": n}
        for chosen, value, why in _explained(kernel, pass_, n, weight):
            yield where | {"chosen": chosen, "value": value, "why": why}
    size = f"{operand.nbytes:,} bytes, {operand.nbytes / max(1, weight.nnz):.2f} per nonzero"
    whole = {"chosen": "operand", "value": size, "why": f"{weight.nnz:,} nonzeros"}
    yield named | {"pass": "all", "batch": "all"} | whole


def _explained(
    kernel: Kernel, pass_: Pass, n: int, weight: Weight
) -> Iterator[tuple[str, str, str]]:
    """Yield what was chosen for a pass, its value, and why; then what else there is to choose."""
    m, k = weight.shape
    if reason := kernel.unsupported(Problem(pass_, m, k, n, weight.nnz)):
        yield "not computed", "", reason
        return
    chosen = kernel.explain(kernel.prepare_for(weight, (pass_,), n), pass_, n)
    if not chosen:
        yield "nothing", "", "this kernel has no parameters of its own, or its library keeps them"
    for each in chosen:
        yield each.name, each.value, each.reason
    for other in considered(kernel, weight, pass_, n)[:_MOST_SHOWN]:
        title = other.title.removeprefix(f"{kernel.title}, ")
        yield "instead", title, f"{100 * (other.over_own - 1):+.0f} % time, in a quick look here"
