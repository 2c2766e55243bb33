"""Pages as they are used: in a real headless browser."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crossover.bench.records.rows import Visit
from crossover.reports import page, results, tables
from crossover.reports.compare import document
from crossover.reports.exports.html import html
from crossover.reports.results import Results
from tests.reports import large, made

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
NAMES = "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed here")

#: What others may call things; each must stand on the page as it is.
HOSTILE = (
    "<script>document.title = 'taken'</script>", "\"><img src=x onerror=alert(1)>", "'; DROP --",
    "\u202egnihton si siht\u202c", "😀 \N{COMBINING ACUTE ACCENT}", "x" * 300, "</style></script>",
    "${1+1} {{ 7*7 }}", "=HYPERLINK(1)",
)  # fmt: skip
_CONTRAST = (Path(__file__).parent / "contrast.js").read_text()


class Opened:
    """A page in the browser, with what it said and asked for."""

    def __init__(self, context: Any, path: Path) -> None:
        self.page = context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        self.page.locator(".grid .window").first.wait_for()

    def unfold(self) -> None:
        """Open all that is folded, and wait until every grid is there."""
        opening = "document.querySelectorAll('main details').forEach((d) => d.open = true)"
        self.page.evaluate(opening)
        self.read()

    def read(self) -> None:
        """Wait until every grid was read."""
        waiting = self.page.locator(".grid[data-grid]")
        while waiting.count():
            self.page.wait_for_timeout(20)

    @property
    def overflow(self) -> int:
        """Return by how much the body is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    page.write(made.results(folder, *made.everything()), folder)
    return folder / "report.html"


Open = Callable[..., Opened]


@pytest.fixture
def opened(browser: Any) -> Iterator[Open]:
    contexts = []

    def of(path: Path, **options: Any) -> Opened:
        contexts.append(browser.new_context(**options))
        return Opened(contexts[-1], path)

    yield of
    for context in contexts:
        context.close()


def cells(shown: Opened, column: int, grid: int = 0) -> list[str]:
    """Return the texts of a column of a grid, from the top."""
    texts: list[str] = shown.page.evaluate(
        """([grid, column]) => [...document.querySelectorAll('.grid')[grid]
        .querySelectorAll('tbody tr:not(.space)')].map((row) => row.cells[column].textContent)""",
        [grid, column],
    )
    return texts


def heads(shown: Opened) -> list[str]:
    texts: list[str] = shown.page.locator(".grid >> nth=0").locator("th").all_inner_texts()
    return [text.strip(" ▲▼") for text in texts]


def test_nothing_is_asked_for_and_nothing_is_said(report: Path, opened: Open) -> None:
    shown = opened(report)
    assert shown.said == []
    assert shown.asked == [report.as_uri()]
    assert "Crossover" in shown.page.title()


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_the_body_never_scrolls_sideways(report: Path, opened: Open, width: int) -> None:
    shown = opened(report, viewport={"width": width, "height": 800})
    shown.unfold()
    assert shown.overflow <= 0


def test_the_answer_is_seen_without_scrolling(report: Path, opened: Open) -> None:
    shown = opened(report, viewport={"width": 1280, "height": 800})
    for answer in shown.page.locator(".answer").all():
        box = answer.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= 800
    assert "from 50-80 %" in shown.page.locator(".answer >> nth=0").inner_text()


def test_a_grid_is_sorted_by_mouse_and_keyboard(report: Path, opened: Open) -> None:
    shown = opened(report)
    at = heads(shown).index("time")
    button = shown.page.locator(f".grid >> nth=0 >> th:nth-child({at + 1}) >> button")
    parsed = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0}

    def seconds() -> list[float]:
        texts = [text for text in cells(shown, at)[:-2] if text]  # the totals stay at the end
        return [float(t.split()[0]) * parsed[t.split()[1]] for t in texts]

    button.click()
    assert seconds() == sorted(seconds(), reverse=True)
    button.focus()
    shown.page.keyboard.press("Enter")
    assert seconds() == sorted(seconds())
    head = shown.page.locator(f".grid >> nth=0 >> th:nth-child({at + 1})")
    assert head.get_attribute("aria-sort") == "ascending"
    assert cells(shown, 0)[-2:] == ["all layers"] * 2


def test_a_grid_is_filtered_by_choice_and_by_text(report: Path, opened: Open) -> None:
    shown = opened(report)
    grid = shown.page.locator(".grid >> nth=0")
    assert set(cells(shown, 0)) == {"fc1", "fc3", "all layers"}
    grid.locator("label", has_text="layer").locator("select").select_option("fc1")
    assert set(cells(shown, 0)) == {"fc1"}
    grid.locator("input").fill("csr")
    assert set(cells(shown, 1)) == {"csr"}
    assert grid.locator("[role=status]").inner_text().startswith("1 of ")
    with shown.page.expect_download() as download:
        grid.get_by_text("CSV of these rows").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("layer,kernel,")


def test_figures_are_written_as_everywhere_else(report: Path, opened: Open) -> None:
    shown = opened(report)
    figures = [0.0, 1.0, 0.5, 2.0, 12.0, 123.0, 999.4, 1234.0, 1.235e-6, 9.994e-4, 9.996e-4,
              1e-9, 3.21e-8, 0.0123, 0.9123, 0.98214, 45678.0, 1e7, 1.5e-5, 0.1,
              0.00012345, 1.5, 2.5]  # fmt: skip
    for kind, write in tables.WRITERS.items():
        if kind == "text":
            continue
        shares = kind in ("percent", "accuracy", "share")
        values = [value for value in figures if value <= 1 or not shares]
        theirs = shown.page.evaluate(
            "([kind, values]) => values.map((v) => crossover.written(kind, v))", [kind, values]
        )
        assert theirs == [write(value) for value in values], kind
    assert shown.page.evaluate("crossover.written('calls', Infinity)") == "never"
    assert shown.page.evaluate("crossover.written('number', null)") == ""


def test_warnings_stand_beside_the_figure_and_are_named(tmp_path: Path, opened: Open) -> None:
    late = made.row("csr", 2e-5, warnings=["host delay"])
    visits = [made.visit("sweep", made.problem(), {"blas": 1e-4, "csr": late})]
    page.write(made.results(tmp_path, visits, [made.study("sweep")]), tmp_path)
    shown = opened(tmp_path / "report.html")
    mark = shown.page.locator(".grid >> nth=0 >> .mark >> nth=0")
    assert mark.inner_text() == "⚠h"
    assert mark.get_attribute("title") == "host delay"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_both_themes(report: Path, opened: Open, scheme: str) -> None:
    shown = opened(report, color_scheme=scheme)
    shown.unfold()
    assert shown.page.evaluate(_CONTRAST) == []


def test_the_theme_is_chosen_and_kept(report: Path, opened: Open) -> None:
    shown = opened(report, color_scheme="light")
    paper = "getComputedStyle(document.body).backgroundColor"
    before = shown.page.evaluate(paper)
    assert shown.page.locator("#theme").get_attribute("aria-label") == "Show the page dark"
    shown.page.locator("#theme").click()
    after = shown.page.evaluate(paper)
    assert after != before
    shown.page.reload()
    assert shown.page.evaluate(paper) == after


def test_plots_are_downloaded_with_their_data(report: Path, opened: Open) -> None:
    shown = opened(report)
    figure = shown.page.locator("figure >> nth=0")
    with shown.page.expect_download() as download:
        figure.get_by_text("CSV").click()
    assert Path(download.value.path()).read_text().startswith("layer,batch,computes,kind,")
    with shown.page.expect_download() as download:
        figure.get_by_text("SVG").click()
    text = Path(download.value.path()).read_text()
    assert text.startswith("<svg")
    assert "var(" not in text


def test_what_is_folded_is_read_when_it_is_opened(report: Path, opened: Open) -> None:
    shown = opened(report)
    folded = shown.page.locator("details:has(.grid) >> nth=0")
    assert folded.locator(".window").count() == 0
    folded.locator("summary >> nth=0").click()
    folded.locator(".window").wait_for()


def test_on_paper_everything_is_open_and_nothing_is_cut(report: Path, opened: Open) -> None:
    shown = opened(report)
    shown.page.emulate_media(media="print")
    assert shown.page.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    shown.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    shown.read()
    closed = shown.page.locator("main details:not([open])").count()
    assert closed == 0
    assert len(shown.page.pdf(format="A4")) > 20_000
    shown.page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert shown.page.locator("main details:not([open])").count() > 0


def test_hostile_names_are_shown_as_text(tmp_path: Path, opened: Open) -> None:
    shown = opened(written(tmp_path, hostile(tmp_path)))
    assert shown.page.title().startswith("Crossover")
    assert shown.said == []
    assert shown.page.evaluate("document.querySelectorAll('main img, main script').length") == 0
    shown.page.set_viewport_size({"width": 360, "height": 800})
    assert shown.overflow <= 0
    text = shown.page.locator("main").inner_text()
    for name in HOSTILE:
        assert " ".join(name.split()) in " ".join(text.split()), name


def hostile(folder: Path) -> Results:
    """Return a sweep in which networks, layers, kernels and the machine have hostile names."""
    run = replace(made.RUN, machine=made.RUN.machine | {"cpu": HOSTILE[0]})
    kernels = {name: made.kernel(name) for name in HOSTILE}
    visits: list[Visit] = []
    for name in HOSTILE:
        for sparsity in (0.5, 0.9):
            about = made.problem(sparsity, network=name, layer=name)
            times = {"blas": 1e-4, name: 4e-4 * (1.02 - sparsity)}
            visits += made.visits("sweep", about, times)
    found = made.results(folder / "hostile", visits, [made.study("sweep")], run)
    found.kernels.update(kernels)
    return found


def written(folder: Path, found: Results) -> Path:
    page.write(found, folder)
    return folder / "report.html"


def test_a_comparison_is_a_page_too(tmp_path: Path, opened: Open) -> None:
    other = replace(made.RUN, run_id="r2", machine=made.RUN.machine | {"cpu": HOSTILE[0]})
    moved = [replace(v, record=replace(v.record, run_id="r2")) for v in made.sweep()]
    asked = replace(made.study("sweep"), run_id="r2")
    both = [
        made.results(tmp_path / "a", made.sweep(), [made.study("sweep")]),
        made.results(tmp_path / "b", moved, [asked], other),
    ]
    (tmp_path / "compare.html").write_text(html(document.of(both)))
    shown = opened(tmp_path / "compare.html", viewport={"width": 360, "height": 800})
    assert shown.said == []
    assert shown.overflow <= 0


def test_a_large_grid_keeps_only_the_rows_in_sight(tmp_path: Path, opened: Open) -> None:
    large.write(tmp_path, 1)
    shown = opened(written(tmp_path, results.load(tmp_path)))
    grid = shown.page.locator(".grid >> nth=0")
    for select in grid.locator("select").all():
        select.select_option("")
    assert json.loads(grid.locator("[role=status]").inner_text().split()[0].replace(",", "")) > 2000
    assert grid.locator("tbody tr").count() < 100
    first = cells(shown, 2)
    grid.locator(".window").evaluate("(window) => { window.scrollTop = 20000; }")
    shown.page.wait_for_timeout(200)
    assert grid.locator("tbody tr").count() < 100
    assert cells(shown, 2) != first or cells(shown, 1)[0] != "kernel-0"
