"""A git repository with a project whose gate worker answers planted times, without a clock.

Its worker speaks the protocol and nothing else of the suite, as another version would. What it
answers is in ``plan.json`` of each revision.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from crossover.bench.gate.preset import Cell

ROOT = Path(__file__).parent.parent
_WORKER = """
import json, os, random, shutil, sys, time
plan = json.load(open("plan.json"))
rng = random.Random(os.getpid())
answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)

def answer(do, cell=None, **request):
    if do == "hello":
        return {"protocol": plan["protocol"], "versions": {"python": "3"}, "threads": 2,
                "cells": plan["cells"], "crossovers": plan["crossovers"]}
    name = cell["kernel"]
    if name in plan["crashes"]:
        print("a kernel broke everything", file=sys.stderr)
        os._exit(7)
    if name in plan["hangs"]:
        time.sleep(60)
    if do == "check":
        shutil.copy("wrong.npy" if name in plan["wrong"] else f"{cell['kernel']}.npy",
                    request["path"])
        return {"problem": None, "compile_s": plan["compile_s"].get(name, 0.0),
                "nbytes": plan["nbytes"].get(name, 1000), "inputs": plan["inputs"]}
    if do == "calibrate":
        return {"loops": 10}
    dense = name == "numpy-dense"
    # Twice as fast per halving of the density; as fast as dense at 70 %, or where it is planted.
    share = (1 - cell["sparsity"]) / (1 - plan["crosses_at"]) if plan["crossovers"] else 1.0
    seconds = 1e-3 * (1.0 if dense else share) * plan["seconds"].get(name, 1.0)
    return {"seconds": seconds * rng.gauss(1, 0.01), "prepare_s": 1e-3 * rng.gauss(1, 0.01)
            * plan["prepare"].get(name, 1.0), "problem": None}

for line in sys.stdin:
    request = json.loads(line)
    print(json.dumps(answer(**request)), file=answers)
"""

_PYPROJECT = """
[project]
name = "planted"
version = "0"
dependencies = []
"""


def cell(kernel: str, seed: int = 1) -> Cell:
    """Return a small cell of a kernel that is named as one of ours or not."""
    return Cell(kernel, "fc1", 12, 16, 4, "forward", sparsity=0.5, seed=seed)


def repository(folder: Path) -> Path:
    """Return a new repository with a first commit of the project, without a plan."""
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "crossover.py", folder)
    package = folder / "bench" / "gate"
    package.mkdir(parents=True)
    for path in (folder / "bench" / "__init__.py", package / "__init__.py"):
        path.write_text("")
    (package / "worker.py").write_text(_WORKER)
    (folder / "pyproject.toml").write_text(_PYPROJECT)
    (folder / ".gitignore").write_text("ignored.txt\n")
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder, "first")
    return folder


def revision(folder: Path, cells: Sequence[Cell] | None = None, **plan: Any) -> str:
    """Return a new commit whose worker answers as ``plan`` says."""
    default: Mapping[str, Any] = {
        "protocol": 1, "crossovers": [], "crashes": [], "hangs": [], "wrong": [], "compile_s": {},
        "nbytes": {}, "inputs": "same", "seconds": {}, "prepare": {}, "crosses_at": 0.7,
    }  # fmt: skip
    used = list(cells or [cell("numba-csr"), cell("numpy-dense")])
    content = {**default, "cells": [asdict(each) for each in used], **plan}
    (folder / "plan.json").write_text(json.dumps(content))
    for each in used:
        weight, x, _ = each.operands()
        np.save(folder / f"{each.kernel}.npy", weight.values @ x)
        np.save(folder / "wrong.npy", weight.values @ x + 1)
    return commit(folder, f"{sorted(plan)}")


def crossing(at: float) -> dict[str, Any]:
    """Return the plan of a revision whose crossover of numba-csr lies at a sparsity."""
    definition = asdict(replace(cell("numba-csr"), batch=64))
    return {
        "crossovers": [{"cell": definition, "against": "numpy-dense"}],
        "crosses_at": at,
    }


def commit(folder: Path, message: str) -> str:
    git(folder, "add", "--all")
    # A minute apart: commits of the same second have no order.
    clock = folder.parent / "minutes"
    minutes = int(clock.read_text()) + 1 if clock.exists() else 0
    clock.write_text(str(minutes))
    os.environ["GIT_COMMITTER_DATE"] = f"2026-01-01T{minutes // 60:02}:{minutes % 60:02}:00+00:00"
    try:
        git(folder, "commit", "--quiet", "--allow-empty", "-m", message)
    finally:
        del os.environ["GIT_COMMITTER_DATE"]
    return git(folder, "rev-parse", "HEAD")


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", "-C", str(folder), *who, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
