"""What the command line shows while it works, on stderr."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from crossover.bench.studies.study import Progress

_PLAIN_EVERY_S = 15.0


@contextmanager
def progress(quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """Yield a function that shows how far a sweep is: a bar, or lines where stderr is a file."""
    console = Console(stderr=True)
    if quiet:
        yield lambda _: None
    elif console.is_terminal:
        columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()
        # The bar redraws twice a second: more often would disturb what is timed.
        with Bar(*columns, TimeRemainingColumn(), console=console, refresh_per_second=2) as bar:
            yield _bar_reporter(bar)
    else:
        yield _line_reporter(console)


def _bar_reporter(bar: Bar) -> Callable[[Progress], None]:
    tasks = {}

    def report(state: Progress) -> None:
        if state.phase not in tasks:
            tasks[state.phase] = bar.add_task(state.phase, total=state.total)
        bar.update(
            tasks[state.phase],
            completed=state.done,
            total=state.total,
            description=f"{state.phase}: {state.title}",
        )

    return report


def _line_reporter(console: Console) -> Callable[[Progress], None]:
    """Return a reporter that prints a line now and then, with the time left."""
    began: dict[str, tuple[float, float]] = {}
    last = [0.0]

    def report(state: Progress) -> None:
        now = time.monotonic()
        start, first = began.setdefault(state.phase, (now, state.done))
        if now - last[0] < _PLAIN_EVERY_S and state.done < state.total:
            return
        last[0] = now
        left = "?"
        if state.done > first:
            left = f"{(now - start) * (state.total - state.done) / (state.done - first):.0f} s"
        share = state.done / state.total if state.total else 1.0
        console.print(f"{state.phase} {share:4.0%}, {left} left: {state.title}", highlight=False)

    return report
