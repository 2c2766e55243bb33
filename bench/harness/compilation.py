"""How long Numba compiled: nothing where its cache on disk had the code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stopwatch() -> Iterator[Callable[[], float]]:
    """Yield a function that returns the seconds that Numba compiled for within the context."""
    if "numba" not in sys.modules:  # no kernel here can compile
        yield lambda: 0.0
        return
    from numba.core import event

    with event.install_listener("numba:compile", event.TimingListener()) as listener:
        yield lambda: float(listener.duration) if listener.done else 0.0
