"""Methods that train a sparse network whose pattern moves: what is small goes, as much grows."""

from __future__ import annotations

import numpy as np

from crossover.bench.workloads.pruning.masks import Mask, Values, highest
from crossover.bench.workloads.pruning.method import Moment
from crossover.bench.workloads.pruning.static import ErdosRenyiScaled

# Share of the entries that move at first; it falls to nothing when so much of training is done.
_MOVED = 0.3
_LAST = 0.75


class Regrowth(ErdosRenyiScaled):
    """Drops the smallest magnitudes and grows as many entries elsewhere, layer by layer."""

    # As Evci et al. 2020 have it: what has grown needs time to become as large as what was there.
    interval = 100

    def change(self, moment: Moment) -> list[Mask] | None:
        if not 0 < moment.done < _LAST:
            return None
        share = _MOVED / 2 * (1 + np.cos(np.pi * moment.done / _LAST))
        grown = self.scores(moment)
        return [
            _moved(*each, share) for each in zip(moment.values, moment.masks, grown, strict=True)
        ]

    def scores(self, moment: Moment) -> list[Values]:
        """Return of each entry (m, k) how much it is wanted; that of those in place is not read."""
        raise NotImplementedError


class Set(Regrowth):
    """Grows at random."""

    name = "set"
    title = "sparse from the start, regrown at random (SET)"
    source = "Mocanu et al. 2018"

    def scores(self, moment: Moment) -> list[Values]:
        return [moment.rng.random(mask.shape, np.float32) for mask in moment.masks]


class RigL(Regrowth):
    """Grows where the gradient is largest."""

    name = "rigl"
    title = "sparse from the start, regrown by gradient (RigL)"
    source = "Evci et al. 2020"

    def scores(self, moment: Moment) -> list[Values]:
        return [np.abs(gradient) for gradient in moment.gradients()]


def _moved(values: Values, mask: Mask, wanted: Values, share: float) -> Mask:
    """Return the mask with a ``share`` of its entries moved to where they are wanted most."""
    there = int(mask.sum())
    count = min(int(share * there), mask.size - there)
    if not count:
        return mask
    moved, present, absent = mask.ravel().copy(), np.flatnonzero(mask), np.flatnonzero(~mask)
    moved[present] = highest(np.abs(values.ravel()[present]), there - count)
    moved[absent] = highest(wanted.ravel()[absent], count)
    return moved.reshape(mask.shape)


METHODS = Set, RigL
