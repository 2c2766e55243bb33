"""pyperf as another timer of the same calls, in processes of its own; for ``selfcheck``."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crossover.bench.harness.environment import environment_of
from crossover.bench.harness.layer_setup import LayerSetup
from crossover.bench.harness.sources import Discovered
from crossover.bench.harness.task import Outcome, Task
from crossover.bench.machine.identity import ROOT
from crossover.bench.records.rows import Row

_VALUES = 5


def unavailable() -> str | None:
    """Return why pyperf cannot time here, as a sentence, or None if it can."""
    if importlib.util.find_spec("pyperf") is None:
        return "pyperf is not installed: nox -s selfcheck does"
    return None


def time_by_pyperf(task: Task) -> Outcome:
    """Return what pyperf measures of each kernel of ``task``, one process each."""
    if reason := unavailable():
        return Outcome(None, {}, {name: Row(name, "skipped", reason) for name in task.kernels})
    description = LayerSetup(task).description
    return Outcome(description, {}, {name: _row(task, name) for name in task.kernels})


def prepared_call(task_file: str, kernel: str) -> Callable[[], Any]:
    """Return the call of a pickled task that pyperf times: ``-s`` of its ``timeit``."""
    task: Task = pickle.loads(Path(task_file).read_bytes())
    _, prepared = LayerSetup(task).prepare(Discovered().load()[kernel])
    if prepared is None:
        raise RuntimeError(f"{kernel} cannot be timed")
    return prepared.call


def _row(task: Task, kernel: str) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder) / "task.pickle", Path(folder) / "pyperf.json"
        given.write_bytes(pickle.dumps(task))
        module = "crossover.bench.harness.pyperf_timer"
        setup = f"from {module} import prepared_call; f = prepared_call({str(given)!r}, {kernel!r})"
        own = environment_of(task.problem.setting)
        environment = (
            os.environ
            | own
            | {
                "PYTHONPATH": os.pathsep.join(
                    [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
                )
            }
        )
        options = ["-p", "1", "-n", str(_VALUES), "-w", "1", "--quiet", "-o", str(found)]
        inherited = ["--inherit-environ", ",".join(["PYTHONPATH", "CROSSOVER_CACHE", *own])]
        command = [sys.executable, "-m", "pyperf", "timeit", *options, "-s", setup]
        done = subprocess.run(
            [*command, *inherited, "f()"], env=environment, capture_output=True, text=True
        )
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
            return Row(kernel, "failed", f"pyperf ended with exit code {done.returncode}: {said}")
        (benchmark,) = json.loads(found.read_text())["benchmarks"]
    values = [value for run in benchmark["runs"] for value in run.get("values", [])]
    return Row(kernel, "measured", samples=values, loops=1)
