"""The wheel, built and installed elsewhere: one import name, all its files, and it runs."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
_USE = """
import numpy as np
from crossover.kernels import Weight
from crossover.kernels import discover
kernel, w = discover()["numpy-dense"], np.eye(3, 4, dtype=np.float32)
y = kernel.forward(kernel.prepare(Weight.from_dense(w)), np.ones((4, 2), np.float32), None)
assert y.tolist() == [[1, 1]] * 3
import crossover, crossover.reports.page, sys
assert not {"bench", "kernels", "reports"} & set(sys.modules)
print(crossover.__file__)
"""


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode and "No module named" in done.stderr:
        pytest.skip(f"not run: {done.stderr.strip().splitlines()[-1]}")
    assert not done.returncode, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without a network."""
    pytest.importorskip("hatchling", reason="not run: hatchling is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder), str(ROOT))
    return next(folder.glob("*.whl"))


def test_it_holds_one_package_with_all_its_files(wheel: Path) -> None:
    names = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
    assert {name.split("/")[0] for name in names} == {"crossover"}
    held = {name.removeprefix("crossover/") for name in names}
    data = {"__init__.py", "py.typed", "reports/templates/page.html", "bench/gate/gitlab-ci.yml"}
    sources = {
        path.relative_to(ROOT).as_posix()
        for folder in ("bench", "kernels", "reports")
        for path in (ROOT / folder).rglob("*.py")
    }
    assert data | sources <= held
    assert any(name.endswith(".gz") for name in held)
    assert not any("__pycache__" in name for name in held)


def test_it_runs_from_elsewhere(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "installed"
    pip("install", "--quiet", "--no-deps", "--no-index", "--target", str(target), str(wheel))
    environment = {**os.environ, "PYTHONPATH": str(target)}

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    assert run(sys.executable, "-c", _USE).strip() == str(target / "crossover" / "__init__.py")
    script = str(target / "bin" / "crossover")
    assert "kernels" in run(sys.executable, script, "--help")
    assert '"numba-tiled"' in run(sys.executable, script, "kernels", "list", "--json")
