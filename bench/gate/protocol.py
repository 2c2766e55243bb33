"""What the gate and a worker of either version say to each other: JSON, a line each.

The two versions differ, so they share nothing but this: requests name what they want under ``do``,
answers are objects, with ``error`` where something went wrong. ``PROTOCOL`` is raised when an old
worker would misunderstand a new gate; a worker of another number is not measured.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROTOCOL = 1
MODULE = "crossover.bench.gate.worker"
_START_LIMIT_S = 120.0
_WATCH_S = 0.5
_STDERR_LINES = 20


class WorkerError(Exception):
    """Raised when a worker died, hung or could not do what it was asked."""


class WorkerProcess:
    """A worker of one version: its own interpreter, in its own source tree."""

    def __init__(
        self,
        python: Path,
        source: Path,
        environment: Mapping[str, str],
        time_limit_s: float = 60.0,
    ) -> None:
        self.time_limit_s = time_limit_s
        self._deadline = float("inf")
        self._hung = False
        self._process = subprocess.Popen(
            [str(python), "-m", MODULE],
            cwd=source,
            env={**environment, "PYTHONPATH": str(source)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
            # The gate decides what Ctrl-C ends.
            start_new_session=True,
        )
        self._stderr: list[str] = []
        for target in (self._read_stderr, self._watch):
            threading.Thread(target=target, daemon=True).start()

    def ask(self, do: str, time_limit_s: float | None = None, **request: Any) -> dict[str, Any]:
        """Return the worker's answer.

        Raises:
            WorkerError: if there is none in time, or it is an error.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._deadline = time.monotonic() + (time_limit_s or self.time_limit_s)
        try:
            self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            self._deadline = float("inf")
        if not line:
            raise WorkerError(self._death())
        try:
            answer: dict[str, Any] = json.loads(line)
        except ValueError:
            raise WorkerError(f"the worker answered {line.strip()[:80]!r}, not JSON") from None
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def hello(self) -> dict[str, Any]:
        """Return what the worker is and can measure; it has loaded its kernels then."""
        return self.ask("hello", _START_LIMIT_S)

    @property
    def alive(self) -> bool:
        """Return whether the process still runs."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue

    def _death(self) -> str:
        self._process.kill()
        code = self._process.wait()
        if self._hung:
            return f"no answer within {self.time_limit_s:g} s: the worker was stopped"
        time.sleep(0.05)  # what it said last may still be on its way
        said = self._stderr[-1] if self._stderr else f"exit code {code}"
        return f"the worker process ended: {said}"

    def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        try:
            for line in self._process.stderr:
                if line.strip():
                    self._stderr[:] = [*self._stderr[1 - _STDERR_LINES :], line.strip()]
        except ValueError:  # closed meanwhile
            return

    def _watch(self) -> None:
        """Stop a worker that does not answer in time."""
        while self._process.poll() is None:
            if time.monotonic() > self._deadline:
                self._hung = True
                self._process.kill()
            time.sleep(_WATCH_S)
