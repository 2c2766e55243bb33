"""Trends over commits, as a table: the newest figure, its course, and where it changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crossover.bench.gate.verdicts import POLICIES, Finding
from crossover.reports.views.gate import level

if TYPE_CHECKING:
    from crossover.bench.gate.history import Trend

_BARS = "▁▂▃▄▅▆▇█"
_WIDEST = 24


def table(trends: Sequence[Trend]) -> pd.DataFrame:
    """Return a line per trend, those that changed first."""
    ordered = sorted(trends, key=lambda each: (not each.changes, each.metric, each.name))
    return pd.DataFrame([_line(each) for each in ordered])


def _line(trend: Trend) -> dict[str, str]:
    finding = Finding(trend.metric, trend.name, trend.digest, "same")  # type: ignore[arg-type]
    changes = [
        f"{each.revision[:10]} {100 * each.change:+.1f} "
        f"{'%' if POLICIES[finding.metric].relative else 'points'}"
        for each in trend.changes
    ]
    roofline = trend.rooflines[-1]
    return {
        "what": POLICIES[finding.metric].title,
        "of": trend.name,
        "commits": str(len(trend.values)),
        "newest": level(finding, trend.values[-1]),
        "course": bars(trend.values),
        "changed at": ", ".join(changes),
        "of the ceilings": "" if roofline is None else f"{100 * roofline:.0f} %",
    }


def bars(values: Sequence[float]) -> str:
    """Return the last values as bars, the lowest of them ▁ and the highest █."""
    shown = np.asarray(values[-_WIDEST:], float)
    low, high = shown.min(), shown.max()
    if high <= low:
        return _BARS[0] * len(shown)
    steps = np.round((shown - low) / (high - low) * (len(_BARS) - 1)).astype(int)
    return "".join(_BARS[step] for step in steps)
