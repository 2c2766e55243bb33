"""Source trees of two versions in a temporary folder, which goes whatever happens.

Each tree is a git worktree of the user's repository, whose own files are only read. Its folder
says which process made it: what a killed run left is found and removed by the next one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import psutil

from crossover.bench.errors import InputError

WORKTREE = "worktree"
_PREFIX = "crossover-gate-"
_OWNER = "owner.json"
_MOMENT_S = 60.0


class Checkout:
    """A temporary folder for the source trees of a repository; a context manager."""

    def __init__(self, start: Path | None = None) -> None:
        """Find the repository that ``start`` (by default the current folder) is in.

        Raises:
            InputError: if there is none.
        """
        where = start or Path.cwd()
        top = _git(where, "rev-parse", "--show-toplevel")
        if top is None:
            raise InputError(f"{where} is in no git repository: run the gate in a checkout")
        self.repository = Path(top)

    def __enter__(self) -> Checkout:
        """Remove what killed runs left, and make the folder."""
        remove_leftovers(self.repository)
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        me = psutil.Process()
        owner = {"pid": me.pid, "started": me.create_time()}
        (self.folder / _OWNER).write_text(json.dumps(owner))
        return self

    def __exit__(self, *exception: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        _git(self.repository, "worktree", "prune")

    def commit(self, revision: str) -> str:
        """Return the commit that ``revision`` names.

        Raises:
            InputError: if it names none.
        """
        found = _git(self.repository, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
        if revision.startswith("-") or found is None:
            raise InputError(
                f"revision {revision!r} is no commit of {self.repository}: fetch it (a shallow "
                "clone lacks it), or name another"
            )
        return found

    def tree(self, name: str, revision: str) -> tuple[Path, str]:
        """Return the source tree of ``revision``, and its commit; ``worktree`` is a copy.

        Raises:
            InputError: if the revision is none, or cannot be checked out.
        """
        target = self.folder / name
        if revision == WORKTREE:
            commit = _git(self.repository, "rev-parse", "HEAD") or "unknown"
            copy_tracked(self.repository, target)
            changed = _git(self.repository, "status", "--porcelain")
            return target, f"{commit}-dirty" if changed else commit
        commit = self.commit(revision)
        # No hook of the user's runs here.
        command = ("-c", "core.hooksPath=/dev/null", "worktree", "add", "--detach", "--force")
        if _git(self.repository, *command, str(target), commit) is None:
            raise InputError(f"git cannot check out {commit[:12]} to {target}: see 'git worktree'")
        return target, commit

    def committed_at(self, commit: str) -> str:
        """Return the time of a commit, ISO 8601; empty where there is none."""
        name = commit.removesuffix("-dirty")
        return _git(self.repository, "show", "--no-patch", "--format=%cI", name) or ""


def copy_tracked(repository: Path, target: Path) -> None:
    """Copy the user's files to ``target``: as they are now, those that git ignores left out."""
    listed = _git(repository, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in (listed or "").split("\0"):
        source = repository / name
        if name and source.is_file():
            copy = target / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy)


def remove_leftovers(repository: Path) -> int:
    """Remove the folders of runs that were killed, and return how many there were."""
    removed = 0
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        if _owned(folder):
            continue
        shutil.rmtree(folder, ignore_errors=True)
        removed += 1
    if removed:
        _git(repository, "worktree", "prune")
    return removed


def _owned(folder: Path) -> bool:
    """Return whether the process that made ``folder`` still runs."""
    try:
        owner = json.loads((folder / _OWNER).read_text())
        process = psutil.Process(owner["pid"])
        return bool(abs(process.create_time() - owner["started"]) < 1.0)
    except FileNotFoundError:  # made a moment ago, or long abandoned
        return folder.exists() and time.time() - folder.stat().st_mtime < _MOMENT_S
    except (OSError, ValueError, KeyError, TypeError, psutil.NoSuchProcess):
        return False


def _git(where: Path, *arguments: str) -> str | None:
    """Return what git prints, or None where it fails."""
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    # Set where a hook runs the gate: they would point every command to the user's index.
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "GIT_PREFIX"):
        environment.pop(name, None)
    try:
        done = subprocess.run(
            ["git", "-C", str(where), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
