"""Orders in which contenders that cannot share a process are visited in turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np

Contender = TypeVar("Contender")


def balanced_orders(
    contenders: Sequence[Contender], visits: int, rng: np.random.Generator
) -> Iterator[list[Contender]]:
    """Yield the order of each of ``visits``: a random one, its reverse, a random one, and so on.

    So of two contenders each is first as often as the other, and a machine that slows down or
    recovers on the way favours neither.
    """
    order = list(contenders)
    for visit in range(visits):
        order = order[::-1] if visit % 2 else [contenders[i] for i in rng.permutation(len(order))]
        yield order
