"""The house: imports point one way, and modules stay small."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# The commands put the parts together, so they alone look both ways.
COMMANDS = ROOT / "bench" / "commands"
FORBIDDEN = {"kernels": {"bench", "reports"}, "bench": {"reports"}}


def imported(path: Path) -> set[str]:
    """Return the folders that a file imports from, anywhere in it."""
    package = ("crossover", *path.relative_to(ROOT).parent.parts) if ROOT in path.parents else ()
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) + 1 - node.level] if node.level else ()
            where = ".".join([*start, *([node.module] if node.module else [])])
            names |= {f"{where}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("crossover.")}


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_point_one_way(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        if COMMANDS not in path.parents:
            assert not imported(path) & FORBIDDEN[package], path


@pytest.mark.parametrize(
    "code", ["from crossover.reports.page import html", "import crossover.bench.worker"]
)
def test_the_import_check_can_fail(tmp_path: Path, code: str) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text(f"def f():\n    {code}\n")
    assert imported(planted) & FORBIDDEN["kernels"]


def test_kernels_load_under_any_name(tmp_path: Path) -> None:
    """Two revisions of them are loaded side by side, so they name no package of their own."""
    (tmp_path / "renamed").symlink_to(ROOT / "kernels")
    code = (
        "import sys; from renamed import discover; assert 'numba-csr' in discover();"
        "assert not {'crossover', 'kernels'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


def test_reports_never_measure() -> None:
    for path in (ROOT / "reports").rglob("*.py"):
        text = path.read_text()
        assert "bench.timing" not in text
        assert "bench.worker" not in text
