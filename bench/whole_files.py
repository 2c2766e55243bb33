"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from crossover.bench.errors import InputError


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
