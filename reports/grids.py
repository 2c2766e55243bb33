"""Large tables as compact data, which the page's script writes, sorts and filters.

A grid of a hundred thousand rows is a few megabytes packed: text is kept once and referred to, a
figure with four digits, and all of it compressed. Scripts read the same content as
``results.csv``.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

_DIGITS = 4


@dataclass(frozen=True)
class Column:
    """A column of a grid: which of the frame's, and how it is written."""

    name: str
    title: str
    #: ``text``, or the name of a way to write a number: see :data:`tables.WRITERS`.
    kind: str = "text"
    #: What it means; shown where the column's title is pointed at.
    meaning: str = ""
    #: Names of columns with warnings, which mark its figures.
    marked_by: tuple[str, ...] = ()
    #: Whether a reader may choose one of its values to see its rows alone.
    filtered: bool = False
    #: Chosen at first; None: all are shown.
    chosen: str | None = None


@dataclass(frozen=True)
class Grid:
    """A large table, with a row per row of ``frame``."""

    title: str
    frame: pd.DataFrame
    columns: Sequence[Column]
    #: The column that it is sorted by at first, the largest first where that begins with ``-``;
    #: empty: in the order of the frame.
    order: str = ""
    #: Of the frame: True in rows that sum up others. They are set apart.
    totals: str = ""

    @property
    def packed(self) -> str:
        """Return it as JSON, compressed by gzip, in base64.

        An object with ``title``, ``rows`` (how many), ``order``, ``totals`` (numbers of rows) and
        ``columns``: per column the fields of :class:`Column`, and ``values``, or ``words`` and
        ``at``, the number of each row's word. An interval has ``low`` and ``high`` beside
        ``values``; what is not known is null, and infinity ``"inf"``.
        """
        whole = {
            "title": self.title,
            "rows": len(self.frame),
            "order": self.order,
            "totals": np.flatnonzero(self.frame[self.totals]).tolist() if self.totals else [],
            "columns": [self._column(each) for each in self.columns],
        }
        text = json.dumps(whole, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()

    def _column(self, column: Column) -> dict[str, Any]:
        content: dict[str, Any] = {
            "name": column.name, "title": column.title, "kind": column.kind,
            "meaning": column.meaning, "filtered": column.filtered, "chosen": column.chosen,
        }  # fmt: skip
        if column.marked_by:
            content["marks"] = _words(_warnings(self.frame, column.marked_by))
        if column.kind == "text":
            return content | _words(self.frame[column.name])
        for key, end in (("values", ""), ("low", "_low"), ("high", "_high")):
            if f"{column.name}{end}" in self.frame:
                content[key] = _numbers(self.frame[f"{column.name}{end}"])
        return content


def _words(values: pd.Series) -> dict[str, Any]:
    codes, words = pd.factorize(values.fillna("").astype(str))
    return {"words": list(words), "at": codes.tolist()}


def _warnings(frame: pd.DataFrame, names: Sequence[str]) -> pd.Series:
    """Return the warnings of several columns as one."""
    parts = [frame[name].fillna("").astype(str) for name in names]
    whole = parts[0]
    for other in parts[1:]:
        both = (whole != "") & (other != "")
        whole = whole + np.where(both, "; ", "") + other
    return whole


def _numbers(values: pd.Series) -> list[float | int | str | None]:
    # Most columns have few values, of which each is rounded once.
    codes, distinct = pd.factorize(pd.to_numeric(values), use_na_sentinel=False)
    known = [rounded(each) for each in distinct.tolist()]
    return [known[code] for code in codes.tolist()]


def rounded(value: float) -> float | int | str | None:
    """Return a number with four digits, a whole one as it is; None for NaN, "inf" for infinity."""
    if isinstance(value, int):
        return value
    if not math.isfinite(value):
        return None if math.isnan(value) else "inf"
    if value == round(value) and abs(value) < 1e15:
        return int(value)
    return float(f"{value:.{_DIGITS}g}")
