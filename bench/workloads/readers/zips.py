"""Archives that others made: opened only if they are not larger inside than they could be."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crossover.bench.machine import memory
from crossover.bench.workloads.readers.stored import unreadable

# Weights, even pruned ones, are packed to no less than a part in so many; small members may be.
_MOST_RATIO, _SMALL = 200, 1 << 20
_MOST_MEMBERS = 100_000


@contextmanager
def opened_zip(path: Path, kind: str) -> Iterator[zipfile.ZipFile]:
    """Yield the archive at ``path``; what it says of its sizes was looked at before.

    Raises:
        UnreadableError: if it is no archive, or unpacks to more than weights could.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise unreadable(path, kind, error) from error
    with archive:
        members = archive.infolist()
        size = path.stat().st_size
        if len(members) > _MOST_MEMBERS:
            raise unreadable(path, kind, f"{len(members):,} members")
        for each in members:
            packed = max(1, each.compress_size)
            # Members cannot overlap: together they are no larger than the file.
            if each.header_offset + each.compress_size > size:
                raise unreadable(path, kind, f"{each.filename} ends beyond the file")
            if each.file_size > _SMALL and each.file_size > _MOST_RATIO * packed:
                raise unreadable(path, kind, f"{each.filename} unpacks {packed} bytes to "
                                 f"{each.file_size}, a zip bomb")  # fmt: skip
        if sum(each.compress_size for each in members) > size:
            raise unreadable(path, kind, "its members overlap")
        if max((each.file_size for each in members), default=0) > memory.free_bytes():
            raise unreadable(path, kind, "a member is larger than the free memory")
        yield archive
