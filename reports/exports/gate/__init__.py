"""What a gate found, for other tools: each in the format that the tool itself documents.

pytest-benchmark compares two files, so base and head get one each; the rest is of head. No export
measures, or asks the machine anything: ``machine`` is the identity that the results were kept with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossover.bench.records.files import write_whole
from crossover.reports.exports.gate import asv, junit, pytest_benchmark
from crossover.reports.views.gate import markdown

if TYPE_CHECKING:
    from crossover.bench.gate.comparison import Comparison


def write(found: Comparison, machine: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write every format to ``folder``, and return the paths; each file whole or not at all.

    Raises:
        InputError: if a file cannot be written.
    """
    files: dict[str, str] = {
        "summary.md": markdown(found),
        "junit.xml": junit.xml(found),
        "pytest-benchmark-base.json": _json(pytest_benchmark.content(found, "base", machine)),
        "pytest-benchmark-head.json": _json(pytest_benchmark.content(found, "head", machine)),
        **{f"asv/{name}": _json(content) for name, content in asv.files(found, machine).items()},
    }
    for name, content in files.items():
        write_whole(folder / name, content)
    return [folder / name for name in files]


def _json(content: Any) -> str:
    return json.dumps(content, indent=1) + "\n"
