"""Files of ours: written whole or not at all, locked by one writer, kept in the user's cache."""

from __future__ import annotations

import json
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import platformdirs

from crossover.bench.errors import InputError

fcntl: Any
try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None

_POLL_S = 0.2


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
            file.flush()
            os.fsync(file.fileno())  # or, after a power cut, it has its name and no content
        os.chmod(temporary, 0o644)  # the temporary file is its owner's alone
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise InputError(f"cannot write {path} ({error.strerror or error}): {fix}") from error


def check_writable(folder: Path, fix: str) -> None:
    """Raise if files cannot be kept in ``folder``, which is made.

    Raises:
        InputError: if so, with the ``fix``.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(1 << 20))
    except OSError as error:
        raise InputError(f"cannot write to {folder} ({error.strerror or error}): {fix}") from error


@dataclass(frozen=True)
class Holder:
    """Who holds a lock, as it wrote into the lock file."""

    command: str
    process: int
    #: In UTC.
    since: str
    host: str
    #: Of the running kernel, whose locks all its containers share.
    machine: str
    #: In which the number of the process means something.
    namespace: str

    @classmethod
    def here(cls, command: str) -> Holder:
        """Return this process, which runs ``command``."""
        since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        host = socket.gethostname()
        machine = _text_of(Path("/proc/sys/kernel/random/boot_id")) or host
        return cls(command, os.getpid(), since, host, machine, _namespace())

    @classmethod
    def of(cls, lock: Path) -> Holder | None:
        """Return who wrote into a lock file last; None where that is not known."""
        try:
            return cls(**json.loads(_text_of(lock)))
        except (ValueError, TypeError):
            return None

    def __str__(self) -> str:
        here = Holder.here("")
        same = (self.machine, self.namespace) == (here.machine, here.namespace)
        where = "" if same else f" in another container or machine, {self.host},"
        return f"{self.command} (process {self.process}{where} since {self.since})"


@contextmanager
def sole_writer(
    path: Path,
    command: str,
    elsewhere: str = "use another --out",
    wait: Callable[[str], None] | None = None,
) -> Iterator[None]:
    """Hold the lock file ``path`` while inside; ``command`` is what another process is told.

    The system gives the lock up with the process, however that ends, and whatever container it is
    in. Where another process holds it, ``wait`` is told who, once, and its end is awaited.
    ``elsewhere`` says what else a user can do.

    Raises:
        InputError: if another process holds it and there is no ``wait``, or it cannot be written.
    """
    with _lock_file(path, elsewhere) as file:
        if fcntl is not None and not _locked(file, path):
            holder = str(Holder.of(path) or "another process")
            if wait is None:
                raise InputError(
                    f"{path.parent} is in use by {holder}: wait for it, or {elsewhere}"
                )
            wait(holder)
            while not _locked(file, path):
                time.sleep(_POLL_S)
        file.truncate(0)
        file.write(json.dumps(asdict(Holder.here(command))))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def _lock_file(path: Path, elsewhere: str) -> IO[str]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a+")
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"{path.parent} is no folder: {elsewhere}") from error
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"cannot write to {path.parent} ({reason}): {elsewhere}") from error


def _locked(file: IO[str], path: Path) -> bool:
    """Lock ``file``, and return whether that was possible."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise InputError(
            f"cannot lock {path} ({error.strerror or error}): its file system keeps no locks; "
            "name a folder of another one"
        ) from error
    return True


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:  # not on Linux
        return ""


def _text_of(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, ValueError):
        return ""
