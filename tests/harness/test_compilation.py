"""Compilation is told from loading what was compiled before."""

from __future__ import annotations

import numba

from crossover.bench.harness import compilation


def test_only_compiling_counts() -> None:
    @numba.njit  # type: ignore[untyped-decorator]
    def double(x: int) -> int:
        return 2 * x

    with compilation.stopwatch() as compiled:
        assert double(3) == 6
        assert compiled() > 0
    with compilation.stopwatch() as compiled:
        assert double(4) == 8
        assert compiled() == 0
