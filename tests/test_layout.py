"""The house: imports point downwards only, rooms and modules stay small."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
#: What each room may import, however indirectly; itself is understood. Lower rooms first.
KERNELS = {"kernels"}
LOWEST = KERNELS | {"bench.errors"}
PURE = LOWEST | {"bench.records", "bench.statistics"}
OPERANDS = PURE | {"bench.machine", "bench.workloads"}
HARNESS = OPERANDS | {"bench.harness"}
STUDIES = HARNESS | {"bench.options", "bench.studies"}
ALLOWED: Mapping[str, set[str]] = {
    "kernels": KERNELS,
    "bench.errors": set(),
    "bench.records": LOWEST,
    "bench.statistics": LOWEST | {"bench.records"},
    "bench.machine": PURE,
    "bench.workloads": PURE | {"bench.machine"},
    "bench.options": OPERANDS,
    "bench.harness": OPERANDS,
    "bench.studies": HARNESS | {"bench.options"},
    "bench.gate": STUDIES,
    "reports": PURE | {"bench.machine", "bench.gate"},
}
#: Of a room that is not imported whole, the parts that may be.
MEASURED_LIMITS = "bench.machine.limits"
#: Put the parts together, and look everywhere.
ABOVE_ALL = {"bench.commands", "bench.__main__", "bench.test_benchmarks", "bench"}
MOST_MODULES, MOST_LINES, MOST_FUNCTION_LINES = 12, 320, 45
#: A module per command, and a file per family of kernels.
ONE_FILE_PER_THING = {"bench.commands", "kernels.cpu"}
#: Inner loops that are written out as one: each is one function of generated machine code.
LONG_LOOPS = {
    "kernels.cuda.numba.bsr.bsr_spmm",
    "kernels.cuda.numba.sddmm.sddmm",
    "kernels.cuda.numba.spmm.spmm",
    "kernels.cuda.numba.spmm.spmv",
}


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Return every module of the package by its name without the package's."""
    found = {}
    tops = ("bench", "kernels", "reports")
    for path in sorted(each for top in tops for each in (root / top).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def room(module: str) -> str:
    """Return the room of a module: ``bench.records``, or ``kernels``."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "bench" else parts[0]


def loaded(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the nodes of a module but for what it imports for its types alone."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        waiting += [] if typing_only else list(ast.iter_child_nodes(node))


def imports(module: str, path: Path, known: Mapping[str, Path], types: bool = False) -> set[str]:
    """Return the modules of ours that a file imports, anywhere in it; parents are imported too.

    With ``types`` also those that only its annotations need.
    """
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    names: set[str] = set()
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree) if types else loaded(tree):
        if isinstance(node, ast.Import):
            names |= {a.name.removeprefix("crossover.") for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = (node.module or "").removeprefix("crossover.")
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *filter(None, [node.module])])
            elif base == "crossover":
                base = ""
            names |= {base, *(f"{base}.{a.name}".strip(".") for a in node.names)}
    found = {name for name in names if name in known}
    return found | {p for name in found for p in parents(name) if p in known}


def parents(module: str) -> Iterator[str]:
    while "." in module:
        module = module.rpartition(".")[0]
        yield module


def graph(root: Path = ROOT, types: bool = False) -> dict[str, set[str]]:
    """Return what each module imports."""
    known = modules(root)
    return {module: imports(module, path, known, types) for module, path in known.items()}


def reached(start: str, edges: Mapping[str, set[str]]) -> dict[str, str]:
    """Return the modules that are imported with ``start``, each with the one that imports it."""
    found, waiting = {start: ""}, [start]
    while waiting:
        module = waiting.pop()
        for each in edges[module]:
            if each not in found:
                found[each] = module
                waiting.append(each)
    return found


def upward(edges: Mapping[str, set[str]]) -> list[str]:
    """Return every import that a room is not allowed, however indirect, in words."""
    offending = []
    for module in edges:
        if room(module) in ABOVE_ALL:
            continue
        allowed = ALLOWED.get(room(module), set()) | {room(module), "bench"}
        found = reached(module, edges)
        for each, by in found.items():
            whole_machine = room(module) == "reports" and room(each) == "bench.machine"
            unmeasured = whole_machine and each not in ("bench.machine", MEASURED_LIMITS)
            if room(each) not in allowed or unmeasured:
                offending.append(f"{module} reaches {each} (through {by})")
    return offending


def test_every_room_is_known() -> None:
    assert {room(module) for module in modules()} <= ALLOWED.keys() | ABOVE_ALL


def test_imports_point_downwards_only() -> None:
    assert upward(graph()) == []


def test_types_are_of_rooms_below_too() -> None:
    for module, names in graph(types=True).items():
        if room(module) not in ABOVE_ALL:
            assert {room(n) for n in names} <= ALLOWED[room(module)] | {room(module), "bench"}, (
                module
            )


def test_what_is_imported_for_types_alone_is_not_loaded(tmp_path: Path) -> None:
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from . import formats\n"
    edges = plant(tmp_path, kernels__base=text, kernels__formats="")
    assert edges["kernels.base"] == set()
    assert graph(tmp_path, types=True)["kernels.base"] == {"kernels.formats"}


def plant(root: Path, **texts: str) -> dict[str, set[str]]:
    """Return what the modules of a small house import; names have ``__`` for a dot."""
    for name, text in texts.items():
        path = root / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return graph(root)


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (
            {"kernels__base": "from ..bench import errors", "bench__errors": ""},
            "kernels.base reaches bench.errors",
        ),
        (
            {
                "bench__records__rows": "def f():\n    from crossover.bench.harness import race",
                "bench__harness__race": "",
            },
            "bench.records.rows reaches bench.harness.race",
        ),
        (
            {
                "reports__page": "from crossover.bench.gate.verdicts import x",
                "bench__gate__verdicts": "import crossover.bench.studies.sweep",
                "bench__studies__sweep": "",
            },
            "reports.page reaches bench.studies.sweep (through bench.gate.verdicts)",
        ),
        (
            {
                "reports__page": "from crossover.bench.machine import doctor",
                "bench__machine__doctor": "",
            },
            "reports.page reaches bench.machine.doctor",
        ),
        (
            {
                "bench__studies__sweep": "from crossover.reports.page import write",
                "reports__page": "",
            },
            "bench.studies.sweep reaches reports.page",
        ),
    ],
)
def test_an_import_upwards_is_found(texts: dict[str, str], says: str, tmp_path: Path) -> None:
    assert any(each.startswith(says) for each in upward(plant(tmp_path, **texts)))


def test_imports_downwards_are_allowed(tmp_path: Path) -> None:
    texts = {
        "reports__page": "from crossover.bench.records.rows import Row\n"
        "from crossover.bench.machine.limits import limits_of",
        "bench__machine__limits": "",
        "bench__records__rows": "from crossover.kernels import base",
        "kernels__base": "from . import formats",
        "kernels__formats": "",
    }
    edges = plant(tmp_path, **texts)
    assert edges["kernels.base"] == {"kernels.formats"}
    assert upward(edges) == []


def test_kernels_load_under_any_name(tmp_path: Path) -> None:
    """Two revisions of them are loaded side by side, so they name no package of their own."""
    (tmp_path / "renamed").symlink_to(ROOT / "kernels")
    code = (
        "import sys; from renamed import discover; assert 'numba-csr' in discover();"
        "assert not {'crossover', 'kernels'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


LOADED = """
import importlib, pkgutil, sys
import crossover.reports
for info in pkgutil.walk_packages(crossover.reports.__path__, "crossover.reports."):
    importlib.import_module(info.name)
assert "crossover.reports.page" in sys.modules
print(*sorted(
    name for name in sys.modules
    if name.split(".")[0] in ("numba", "cupy", "torch")
    or name.startswith(("crossover.bench.harness", "crossover.bench.studies"))
    or name.startswith(("crossover.kernels.cpu", "crossover.kernels.cuda"))
))
"""


def loaded_with(code: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_reports_load_neither_numba_nor_a_worker() -> None:
    assert loaded_with(LOADED) == []


def test_what_reports_load_is_looked_at() -> None:
    assert "numba" in loaded_with("import numba\n" + LOADED)


def oversized(root: Path = ROOT) -> list[str]:
    """Return every folder, module and function that is too large, in words."""
    found, folders = [], dict[str, int]()
    for module, path in modules(root).items():
        if path.name != "__init__.py":
            folder = module.rpartition(".")[0]
            folders[folder] = folders.get(folder, 0) + 1
        text = path.read_text()
        if (lines := len(text.splitlines())) > MOST_LINES:
            found.append(f"{module}: {lines} lines")
        found += [
            f"{module}.{node.name}: {node.end_lineno - node.lineno + 1} lines"
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.FunctionDef)
            and node.end_lineno is not None
            and node.end_lineno - node.lineno >= MOST_FUNCTION_LINES
        ]
    return found + [
        f"{folder}: {count} modules"
        for folder, count in folders.items()
        if count > MOST_MODULES and folder not in ONE_FILE_PER_THING
    ]


def test_folders_modules_and_functions_stay_small() -> None:
    found = [each for each in oversized() if each.split(":")[0] not in LONG_LOOPS]
    assert found == []


def test_the_long_loops_are_still_long() -> None:
    assert {each.split(":")[0] for each in oversized()} >= LONG_LOOPS


def test_what_is_too_large_is_found(tmp_path: Path) -> None:
    long_function = "def f():\n" + "    pass\n" * MOST_FUNCTION_LINES
    many = {f"bench__gate__m{number}": "" for number in range(MOST_MODULES + 1)}
    lines = "x = 1\n" * (MOST_LINES + 1)
    plant(tmp_path, bench__records__rows=lines, kernels__base=long_function, **many)
    assert oversized(tmp_path) == [
        f"bench.records.rows: {MOST_LINES + 1} lines",
        f"kernels.base.f: {MOST_FUNCTION_LINES + 1} lines",
        f"bench.gate: {MOST_MODULES + 1} modules",
    ]
    fine = "def f():\n" + "    pass\n" * (MOST_FUNCTION_LINES - 1)
    plant(tmp_path, bench__records__rows="", kernels__base=fine)
    assert oversized(tmp_path) == [f"bench.gate: {MOST_MODULES + 1} modules"]


def test_bench_itself_holds_rooms_only() -> None:
    names = {path.name for path in (ROOT / "bench").glob("*.py")}
    assert names <= {"__init__.py", "__main__.py", "errors.py", "test_benchmarks.py"}


@pytest.mark.parametrize("top", ["bench", "kernels", "reports"])
def test_every_folder_says_what_lives_there(top: str) -> None:
    for path in (ROOT / top).rglob("__init__.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), path
