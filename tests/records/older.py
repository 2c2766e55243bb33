"""Files of results as older versions left them behind."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


def downgrade(path: Path) -> None:
    """Make a file of today's what version 5 would have written, but for its canaries."""
    with closing(sqlite3.connect(path, isolation_level=None)) as older:
        older.execute("ALTER TABLE kernels DROP COLUMN made_for")
        older.execute("ALTER TABLE problems DROP COLUMN idle_threads")
        for name in ("p50_samples", "p99_samples", "accuracies", "differences", "facts",
                     "part_samples"):  # fmt: skip
            older.execute(f"ALTER TABLE rows DROP COLUMN {name}")
        older.execute("PRAGMA user_version = 5")
