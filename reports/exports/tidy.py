"""Every row of a run as a tidy table: CSV, and Parquet where PyArrow is installed."""

from __future__ import annotations

import importlib.util
import io

import pandas as pd

from crossover.reports.exports.columns import COLUMNS


def csv(rows: pd.DataFrame) -> str:
    """Return rows as CSV: one per series, problem and kernel."""
    return str(rows.to_csv(index=False))


def has_parquet() -> bool:
    """Return whether PyArrow, which writes Parquet, is installed: the extra ``parquet``."""
    return importlib.util.find_spec("pyarrow") is not None


def parquet(rows: pd.DataFrame) -> bytes:
    """Return rows as Parquet; each column says in its metadata what it means, and its unit."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(_typed(rows), preserve_index=False)
    fields = [
        field.with_metadata({"meaning": COLUMNS[field.name][1], "unit": COLUMNS[field.name][0]})
        if field.name in COLUMNS
        else field
        for field in table.schema
    ]
    buffer = io.BytesIO()
    pq.write_table(table.cast(pa.schema(fields)), buffer, compression="zstd")
    return buffer.getvalue()


def _typed(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows whose columns each have one type: what was not measured has no figure."""
    found = rows.copy()
    for name in found.columns:
        if found[name].dtype == object:
            numbers = pd.to_numeric(found[name], errors="coerce")
            known = found[name].notna() & (found[name] != "")
            is_number = known.any() and numbers[known].notna().all()
            found[name] = numbers if is_number else found[name].fillna("").astype(str)
    return found
