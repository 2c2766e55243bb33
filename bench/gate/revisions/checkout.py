"""Kernels of two revisions, exported to a temporary folder; the user's checkout is only read."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from crossover.bench.errors import InputError
from crossover.bench.gate.revisions import requirements
from crossover.bench.records.files import Holder, sole_writer

WORKTREE = "worktree"
KERNELS = "kernels"
_PREFIX = "crossover-gate-"
_LOCK = "owner.lock"


@dataclass(frozen=True)
class Version:
    """A version of the kernels, as the user named it."""

    title: str
    #: ``-dirty`` at its end for files that are not committed.
    commit: str
    #: ISO 8601; empty where it is not known.
    committed_at: str = ""
    #: Of the kernels' source.
    digest: str = ""
    #: What it declares to need, and does not have in the environment that it ran in.
    unmet: tuple[str, ...] = ()


class Repository:
    """The git repository that the user is in."""

    def __init__(self, start: Path | None = None) -> None:
        """Find the repository that ``start`` (by default the current folder) is in.

        Raises:
            InputError: if there is none.
        """
        where = start or Path.cwd()
        top = _text(where, "rev-parse", "--show-toplevel")
        if top is None:
            raise InputError(f"{where} is in no git repository: run the gate in a checkout")
        self.root = Path(top)

    def version(self, revision: str) -> Version:
        """Return the version that ``revision`` names, without its digest.

        With what it needs and does not have here.

        Raises:
            InputError: if it names no commit.
        """
        if revision == WORKTREE:
            commit = _text(self.root, "rev-parse", "HEAD") or "unknown"
            changed = _text(self.root, "status", "--porcelain")
            title = f"{WORKTREE} ({commit[:12]}{'-dirty' if changed else ''})"
            commit += "-dirty" if changed else ""
        else:
            commit = self._commit(revision)
            title = revision if commit.startswith(revision) else f"{revision} ({commit[:12]})"
        name = commit.removesuffix("-dirty")
        committed_at = _text(self.root, "show", "--no-patch", "--format=%cI", name) or ""
        needs = requirements.unmet(self._file(revision, requirements.FILE))
        return Version(title, commit, committed_at, unmet=needs)

    def _file(self, revision: str, name: str) -> str | None:
        """Return the text of a file at the top of a revision, or None if it has none."""
        if revision != WORKTREE:
            return _text(self.root, "show", f"{self._commit(revision)}:{name}")
        try:
            return (self.root / name).read_text(errors="replace")
        except OSError:
            return None

    def export(self, revision: str, path: str, target: Path) -> bool:
        """Copy ``path`` of a revision into ``target``; return whether it has one."""
        if revision == WORKTREE:
            return self._copy(path, target)
        archive = _output(self.root, "archive", "--format=tar", self._commit(revision), "--", path)
        if archive is None:
            return False
        with tarfile.open(fileobj=io.BytesIO(archive)) as content:
            content.extractall(target, filter="data")
        return True

    def _commit(self, revision: str) -> str:
        name = f"{revision}^{{commit}}"
        found = _text(self.root, "rev-parse", "--verify", "--quiet", name)
        if revision.startswith("-") or found is None:
            raise InputError(
                f"revision {revision!r} is no commit of {self.root}: fetch it (a shallow clone "
                "lacks it), or name another"
            )
        return found

    def _copy(self, path: str, target: Path) -> bool:
        """Copy the user's files as they are now, those that git ignores left out."""
        command = "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", path
        names = (_text(self.root, *command) or "").split("\0")
        there = [name for name in names if name and (self.root / name).is_file()]
        for name in there:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(self.root / name, target / name)
        return bool(there)


def module_file(module: str) -> Path:
    """Return the file of an importable module.

    Raises:
        InputError: if Python finds no such file.
    """
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        raise InputError(f"kernel module {module!r} is no Python file that can be found: name one")
    return Path(spec.origin).resolve()


def digest_of(folder: Path, package: str) -> str:
    """Return a hash of all Python files in ``folder``, whatever their ``package`` is called."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        name = path.relative_to(folder).as_posix()
        for content in (name.encode(), path.read_bytes()):
            digest.update(content.replace(package.encode(), KERNELS.encode()) + b"\0")
    return digest.hexdigest()[:12]


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a temporary folder that goes with the context; what killed runs left goes first."""
    remove_leftovers()
    with (
        tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as name,
        sole_writer(Path(name) / _LOCK, "crossover gate"),
    ):
        yield Path(name)


def remove_leftovers() -> int:
    """Remove the folders of runs that were killed, and return how many there were.

    The system gives up a killed run's lock; without locks nothing is known of a run, nor removed.
    Nor is one that has not written into its lock file yet, which it does once it holds it; nor one
    of another kernel, on a folder that machines share: its locks may not be seen here.
    """
    removed = 0
    here = Holder.here("crossover gate")
    for lock in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_LOCK}"):
        holder = Holder.of(lock)
        if os.name == "nt" or holder is None or holder.machine != here.machine:
            continue
        try:
            with sole_writer(lock, here.command):
                shutil.rmtree(lock.parent, ignore_errors=True)
                removed += 1
        except InputError:  # its run holds it, or it is another user's
            continue
    return removed


def _text(where: Path, *arguments: str) -> str | None:
    """Return what git prints, or None where it fails."""
    printed = _output(where, *arguments)
    return None if printed is None else printed.decode(errors="replace").strip()


def _output(where: Path, *arguments: str) -> bytes | None:
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    # Set where a hook runs the gate: they would point every command to the user's index.
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "GIT_PREFIX"):
        environment.pop(name, None)
    try:
        command = ["git", "-C", str(where), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
