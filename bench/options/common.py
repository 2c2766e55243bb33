"""Options that several studies declare in the same words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from crossover.bench.options.declaration import option
from crossover.bench.options.values import duration, non_negative_int, one_pass, positive_int, share
from crossover.bench.workloads.networks import NETWORKS
from crossover.bench.workloads.readers import READERS
from crossover.kernels.base import PASSES

_OWN = f"or sizes as 784-300-10, or a file of your own ({' '.join(READERS)}), or a folder of them"


def networks(default: tuple[str, ...]) -> Any:
    """Return the option that names networks, of ours or of the user's."""
    text = f"networks: {', '.join(NETWORKS)}, {_OWN}"
    return option(default, "--network", metavar="NAME", help=text)


def network_name(default: str) -> Any:
    """Return the option that names one network, of ours or of the user's."""
    return option(default, "--network", metavar="NAME", help=f"{', '.join(NETWORKS)}, {_OWN}")


def inputs() -> Any:
    """Return the option that names inputs for a network of the user's."""
    text = "inputs of a network of your own, (items, ...) as numpy.save writes them"
    return option(
        None, "--inputs", metavar="FILE", convert=Path, help=text, shown="drawn activations"
    )


def labels() -> Any:
    """Return the option that names the classes of these inputs."""
    text = "the class of each input, which tells the accuracy"
    return option(None, "--labels", metavar="FILE", convert=Path, help=text, shown="not known")


def sparsities(default: tuple[float, ...]) -> Any:
    """Return the option that says how sparse networks are to be."""
    text = "of the whole network, as 0.9 or 90%%"
    return option(default, "--sparsity", metavar="S", convert=share, help=text)


def batches(default: tuple[int, ...]) -> Any:
    """Return the option that says how many images a layer gets at a time."""
    text = "images at a time"
    return option(default, "--batch", metavar="N", convert=positive_int, help=text)


def passes(default: tuple[Any, ...], shown: str) -> Any:
    """Return the option that names passes; ``shown`` says what the default is."""
    text = f"of {', '.join(PASSES)}"
    return option(default, "--passes", metavar="PASS", convert=one_pass, help=text, shown=shown)


def kernels(default: tuple[str, ...], shown: str) -> Any:
    """Return the option that names kernels; ``shown`` says what the default is."""
    text = "see 'kernels list'"
    return option(default, "--kernels", metavar="NAME", help=text, shown=shown)


def threads() -> Any:
    """Return the option that says with how many threads to measure."""
    return _threads((), positive_int)


def one_threads() -> Any:
    """Return the option that says with how many threads to measure, one number of them."""
    return _threads(0, non_negative_int)


def _threads(default: Any, convert: Callable[[str], int]) -> Any:
    text = "threads of every library"
    return option(default, "--threads", metavar="T", convert=convert, help=text, shown="all cores")


def budget(default_s: float, text: str = "time for the measuring, as 90s or 5m") -> Any:
    """Return the option that says how long measuring may take."""
    return option(default_s, "--budget", metavar="TIME", convert=duration, help=text)


def seed() -> Any:
    """Return the option of the seed of all that is drawn."""
    return option(0, "--seed", metavar="N", convert=non_negative_int, help="of all that is drawn")


def modules() -> Any:
    """Return the option that says where to find kernels of the user's own."""
    text = "an importable module with kernels of your own"
    return option((), "--kernel-module", metavar="MODULE", help=text)


def pattern() -> Any:
    """Return the option that says how networks are pruned."""
    text = "how networks are pruned: one of 'networks methods'"
    return option("gradual", "--pattern", metavar="METHOD", help=text)


def pruning_modules() -> Any:
    """Return the option that says where to find pruning methods of the user's own."""
    text = "an importable module with pruning methods of your own"
    return option((), "--pruning-module", metavar="MODULE", help=text)


def data() -> Any:
    """Return the option that names the images."""
    text, shown = "IDX files of MNIST's form", "the embedded MNIST"
    return option(None, "--data", metavar="DIR", convert=Path, help=text, shown=shown)
