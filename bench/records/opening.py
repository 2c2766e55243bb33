"""How a SQLite file is opened: to be written, or to be read without touching it."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from pathlib import Path
from urllib.parse import quote

_TIMEOUT_S = 10.0


def for_writing(path: Path) -> sqlite3.Connection:
    """Return a connection that makes ``path`` if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return sqlite3.connect(path, isolation_level=None, timeout=_TIMEOUT_S)


def for_reading(path: Path) -> sqlite3.Connection:
    """Return a connection that changes no byte of ``path`` and leaves no file beside it.

    A write-ahead log beside it belongs to it: somebody writes, or was killed. Where SQLite cannot
    share it, in a folder that is read-only, a copy of both is read.
    """
    log = path.with_name(f"{path.name}-wal")
    if not log.exists():
        return _connected(path, "mode=ro&immutable=1")
    shared = path.with_name(f"{path.name}-shm")
    if shared.exists():
        return _connected(path, "mode=ro")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copy(path, folder))
        shutil.copy(log, folder)
        return in_memory(sqlite3.connect(copy, isolation_level=None))


def in_memory(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Return a connection to a copy in memory; the given one is closed."""
    copy = sqlite3.connect(":memory:", isolation_level=None)
    connection.backup(copy)
    connection.close()
    return copy


def _connected(path: Path, how: str) -> sqlite3.Connection:
    address = f"file:{quote(str(path.absolute()))}?{how}"
    return sqlite3.connect(address, uri=True, isolation_level=None, timeout=_TIMEOUT_S)
