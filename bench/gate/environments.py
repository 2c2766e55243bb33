"""An environment per version: a virtual one with the project's dependencies, kept by their hash.

The project itself is not installed: a worker runs in its source tree. So two versions with the
same dependencies share an environment, and the second run finds it ready.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tomllib
import venv
from collections.abc import Callable
from pathlib import Path

import psutil

from crossover.bench.errors import InputError
from crossover.bench.workloads.models import cache_folder

# The environments that are kept; those longest not used go.
_KEPT = 4
_PARTIAL = ".partial-"


def folder() -> Path:
    """Return where environments are kept."""
    return cache_folder() / "environments"


def obtain(source: Path, version: str, tell: Callable[[str], None]) -> Path:
    """Return the Python of the environment of the project in ``source``, built now if need be.

    ``version`` is what messages call it; ``tell`` hears that an environment is built.

    Raises:
        InputError: if the project's dependencies are not stated, or cannot be installed.
    """
    wanted = dependencies(source, version)
    content = json.dumps([sorted(wanted), platform.python_version(), sys.platform])
    target = folder() / hashlib.sha256(content.encode()).hexdigest()[:16]
    if not target.exists():
        tell(f"environment of {version}")
        _build(target, wanted, version)
    os.utime(target)
    _forget(keep=target)
    return _python(target)


def dependencies(source: Path, version: str) -> list[str]:
    """Return what the project's ``pyproject.toml`` says it needs.

    Raises:
        InputError: if there is no such file, or it says nothing of it.
    """
    try:
        content = tomllib.loads((source / "pyproject.toml").read_text())
        found = content["project"]["dependencies"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{version} does not install: its pyproject.toml cannot be read "
            f"({type(error).__name__}: {error}): name another revision"
        ) from error
    return [str(each) for each in found]


def remove_all() -> int:
    """Remove every environment, and return how many there were."""
    kept = list(folder().glob("*"))
    for each in kept:
        shutil.rmtree(each, ignore_errors=True)
    return len(kept)


def _build(target: Path, wanted: list[str], version: str) -> None:
    """Build an environment whole or not at all."""
    partial = target.with_name(f"{target.name}{_PARTIAL}{os.getpid()}")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        venv.create(partial, with_pip=True, symlinks=os.name != "nt")
        command = [str(_python(partial)), "-m", "pip", "install", "--quiet", "--no-input"]
        if wanted:
            subprocess.run([*command, *wanted], capture_output=True, text=True, check=True)
        if not target.exists():  # another run may have been faster
            partial.replace(target)
    except subprocess.CalledProcessError as error:
        said = [line for line in (error.stderr or "").splitlines() if "ERROR" in line]
        reason = said[-1].strip() if said else f"exit code {error.returncode}"
        raise InputError(f"{version} does not install ({reason}): name another revision") from error
    except OSError as error:
        raise InputError(
            f"cannot build an environment in {target.parent} ({error}): free space, or name "
            "another folder in CROSSOVER_CACHE"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _forget(keep: Path) -> None:
    """Remove the environments that were used longest ago, and what killed runs left half built."""
    kept = sorted(folder().iterdir(), key=lambda each: -each.stat().st_mtime)
    whole = [each for each in kept if _PARTIAL not in each.name]
    partial = [each for each in kept if _PARTIAL in each.name and not _running(each)]
    for each in [*whole[_KEPT:], *partial]:
        if each != keep:
            shutil.rmtree(each, ignore_errors=True)


def _running(partial: Path) -> bool:
    """Return whether the process that builds ``partial`` is there."""
    return psutil.pid_exists(int(partial.name.rpartition("-")[2]))


def _python(environment: Path) -> Path:
    parts = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    return environment.joinpath(*parts)
