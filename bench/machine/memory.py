"""How much memory is free, and what to say where that is too little."""

from __future__ import annotations

import importlib
from pathlib import Path

import psutil

_CGROUP = Path("/sys/fs/cgroup")


def free_bytes(device: str = "cpu") -> int:
    """Return the bytes of memory that are free on ``device``, as far as a container may go."""
    if device == "cuda":
        return int(importlib.import_module("cupy").cuda.runtime.memGetInfo()[0])
    free = int(psutil.virtual_memory().available)
    try:
        limit, used = (
            int((_CGROUP / name).read_text()) for name in ("memory.max", "memory.current")
        )
        kept = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no container, or no limit ("max")
        return free
    # Files that are only cached give way.
    return min(free, limit - used + int(kept.get("file", 0)))


def too_little(needed: int, free: int) -> str:
    """Return the sentence that says that ``needed`` bytes are more than are ``free``."""
    return (
        f"Needs about {needed / 2**30:.3g} GiB of memory, {free / 2**30:.3g} GiB are free: "
        "give a smaller --batch."
    )
