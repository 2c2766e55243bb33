"""Files of ours: written whole or not at all, locked by one writer, kept in the user's cache."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs

from crossover.bench.errors import InputError

fcntl: Any
try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None


def cache_folder() -> Path:
    """Return where checkpoints are kept: ``CROSSOVER_CACHE`` or the user's cache directory."""
    own = os.environ.get("CROSSOVER_CACHE")
    return Path(own) if own else platformdirs.user_cache_path("sparse-crossover", appauthor=False)


def write_whole(
    path: Path, content: str | bytes, fix: str = "free space, or name another folder"
) -> None:
    """Write ``content`` to ``path``, all of it or nothing; its folder is made.

    Raises:
        InputError: if it cannot be written, with the ``fix``.
    """
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        os.chmod(temporary, 0o644)  # the temporary file is its owner's alone
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise InputError(f"cannot write {path} ({error.strerror or error}): {fix}") from error


@contextmanager
def sole_writer(path: Path, who: str) -> Iterator[None]:
    """Hold the lock file ``path`` while inside; ``who`` is what another process is told.

    The system gives the lock up with the process, however that ends.

    Raises:
        InputError: if another process holds it, or it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"{path.parent} is no folder: use another --out") from error
    except OSError as error:
        raise InputError(
            f"cannot write to {path.parent} ({error.strerror or error}): use another --out"
        ) from error
    with file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.seek(0)
                holder = file.read().strip() or "another process"
                raise InputError(
                    f"{path.parent} is in use by {holder}: wait for it, or use another --out"
                ) from None
        file.truncate(0)
        file.write(f"{who} (process {os.getpid()})")
        file.flush()
        yield
        file.truncate(0)
