"""The house: imports point one way, and modules stay small."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# The commands put the parts together, so they alone look both ways.
COMMANDS = ROOT / "bench" / "commands"
FORBIDDEN = {"kernels": {"bench", "reports"}, "bench": {"reports"}}


def imported(path: Path) -> set[str]:
    """Return the top-level packages that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_point_one_way(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        if COMMANDS not in path.parents:
            assert not imported(path) & FORBIDDEN[package], path


def test_the_import_check_can_fail(tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text("def f():\n    from reports.page import html\n")
    assert imported(planted) & FORBIDDEN["kernels"]


def test_reports_never_measure() -> None:
    for path in (ROOT / "reports").rglob("*.py"):
        text = path.read_text()
        assert "bench.timing" not in text
        assert "bench.worker" not in text
