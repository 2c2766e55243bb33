"""The gallery: the reports of committed runs, each written again from its store.

A folder holds a store and ``NOTE.md``, in which a person says what it is; all else is written here.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from crossover.bench.records.files import write_whole
from crossover.bench.records.store import FILE_NAME
from crossover.reports import page, results
from crossover.reports.compare import document as comparison
from crossover.reports.compare.machines import recipe_key
from crossover.reports.exports.columns import documentation
from crossover.reports.exports.html import html
from crossover.reports.exports.markdown import PLOTS, markdown
from crossover.reports.foreign import markdown_text
from crossover.reports.results import Results
from crossover.reports.sections import Section
from crossover.reports.views import sweep

NOTE = "NOTE.md"
#: Of a report, what is too large to be committed.
# Problems that runs share by chance, like one layer at one sparsity, are no comparison.
_LEAST_SHARED = 8
_LEFT_OUT = {"results.csv", "results.parquet"}


def rebuild(folder: Path) -> list[Path]:
    """Write the reports of every run in ``folder``, the comparison of them, and the index.

    Raises:
        InputError: if a store cannot be read, or a file cannot be written.
    """
    runs = {each.parent.name: results.load(each.parent) for each in _stores(folder)}
    written = [path for name, run in runs.items() for path in _report(run, folder / name)]
    alike = _of_the_same(runs)
    if len(alike) > 1:
        written += _comparison(alike, folder)
    write_whole(folder / "README.md", _index(runs, folder, compared=len(alike) > 1))
    return [*written, folder / "README.md"]


def _stores(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*/{FILE_NAME}"))


def _report(run: Results, folder: Path) -> list[Path]:
    """Write a run's report anew: what an older version wrote under other names goes."""
    with tempfile.TemporaryDirectory() as fresh:
        made = [each for each in page.write(run, Path(fresh)) if each.name not in _LEFT_OUT]
        for old in [*folder.glob("*.svg"), *folder.glob("plots/*.svg"), *folder.glob("report.*")]:
            old.unlink()
        (folder / PLOTS).mkdir(exist_ok=True)
        return [Path(shutil.copy(each, folder / each.relative_to(fresh))) for each in made]


def _comparison(runs: dict[str, Results], folder: Path) -> list[Path]:
    shown = comparison.of(list(runs.values()))
    contents = {"compare.html": html(shown), "compare.md": markdown(shown)}
    contents |= {f"{PLOTS}/{plot.file}": plot.svg for plot in shown.plots}
    for old in folder.glob(f"{PLOTS}/*.svg"):
        old.unlink()
    for name, content in contents.items():
        write_whole(folder / name, content)
    return [folder / name for name in contents]


def _of_the_same(runs: dict[str, Results]) -> dict[str, Results]:
    """Return the runs that decided a crossover, and share workloads with the first of them."""
    recipes = {
        name: {recipe_key(visit.problem.recipe) for visit in run.visits_of("sweep")}
        for name, run in runs.items()
        if run.visits_of("sweep")
        and any(each.estimate.kind == "between" for each in sweep.found(run)[0])
    }
    first = next(iter(recipes.values()), set())
    alike = (name for name, own in recipes.items() if len(own & first) > _LEAST_SHARED)
    return {name: runs[name] for name in alike}


def _index(runs: dict[str, Results], folder: Path, compared: bool) -> str:
    parts = [
        "# Reference runs",
        "Each folder is a run as the suite stored it. `nox -s gallery` writes every report from "
        "its store again, and this page.",
    ]
    if compared:
        parts.append("Those of the same workloads, [compared](compare.md).")
    for name, run in runs.items():
        shown = page.sections(run)
        note = folder / name / NOTE
        parts += [
            f"## [{name}]({name}/report.md)",
            f"{markdown_text(run.run.machine_title)}, {run.run.started[:10]}, commit "
            f"{run.run.revision}.",
            *([note.read_text().strip()] if note.exists() else []),
            "\n".join(f"- {markdown_text(each)}" for each in _answers(shown)),
        ]
    return "\n\n".join(parts) + "\n"


def _answers(shown: Sequence[Section]) -> list[str]:
    """Return the sentences of the first section, and the first of each further one."""
    first, *others = shown
    return [*first.sentences, *(section.sentences[0] for section in others)]


def main(arguments: Sequence[str]) -> None:
    """Rebuild the gallery in the first argument; write the documentation to the second."""
    gallery, described = map(Path, arguments)
    for path in rebuild(gallery):
        print(f"wrote {path}")
    write_whole(described, documentation())
    print(f"wrote {described}")


if __name__ == "__main__":
    main(sys.argv[1:])
