"""Plots by themselves: legible on their own colours, and whole."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.text import Text

from crossover.reports import page
from crossover.reports.exports.html import themed
from crossover.reports.plots import forest
from crossover.reports.plots.figure import file_name, style
from crossover.reports.plots.forest import Scale
from crossover.reports.plots.labels import annotate
from crossover.reports.plots.sweep import crossover_map
from crossover.reports.results import Results
from tests.kernels.test_looks import contrast


def cells(count: int = 21) -> pd.DataFrame:
    middles = np.linspace(0, 1, count)
    return pd.DataFrame(
        {"layer": "fc1", "batch": range(count), "kind": "between", "low": middles,
         "high": middles, "text": [f"{100 * m:.0f} %" for m in middles]}
    )  # fmt: skip


def test_text_stands_out_on_every_colour_of_the_scale() -> None:
    found = crossover_map.draw({"A machine": cells()}, "Every colour")
    fills = re.findall(r'<g id="patch_\d+">\s*<path d="[^"]*"[^>]*style="fill: (#\w+)', found)
    inks = re.findall(r'fill: (#fdfdfd|#0b0d10)" x=', found)
    shown = [fill for fill in fills if fill != "#ffffff"][: len(inks)]
    assert len(inks) == len(shown) == 21
    for ink, fill in zip(inks, shown, strict=True):
        assert contrast(ink, fill) >= 4.5, (ink, fill)


def test_names_cover_neither_each_other_nor_points() -> None:
    with style():
        figure, axis = plt.subplots(figsize=(6, 4))
        names = [(f"name {i}", 1 + 0.02 * (i % 3), 1 + 0.02 * (i // 3)) for i in range(9)]
        axis.scatter([x for _, x, _ in names], [y for _, _, y in names], s=26)
        axis.set_xlim(0, 3)
        axis.set_ylim(0, 3)
        annotate(axis, [*names, ("far right", 2.98, 1.5)])
        figure.canvas.draw()
        # Of the text alone: an annotation's own would hold its line, too.
        boxes = [Text.get_window_extent(text) for text in axis.texts]
        for one, other in itertools.combinations(boxes, 2):
            assert not one.overlaps(other)
        points = axis.transData.transform([place for _, *place in names])
        assert not any(box.contains(*point) for box in boxes for point in points)
        assert boxes[-1].x1 <= axis.get_window_extent().x1
        plt.close(figure)


def test_what_was_not_decided_has_no_colour() -> None:
    open_ = cells(2).assign(kind="open", text="open")
    found = crossover_map.draw({"A": open_}, "Open")
    assert "open" in found
    assert "#fdfdfd" not in found


def test_every_plot_of_every_study_is_whole_and_has_its_data(everything: Results) -> None:
    plots = [plot for section in page.sections(everything) for plot in section.plots]
    assert len({plot.file for plot in plots}) == len(plots) > 10
    for plot in plots:
        root = ET.fromstring(plot.svg)
        assert float(root.attrib["width"].removesuffix("pt")) < 900
        assert len(plot.data), plot.file
        assert plot.csv.count("\n") == len(plot.data) + 1
        assert len(plot.alt) > len(plot.title)
        assert "var(--ink)" in themed(plot.svg) or "var(--soft)" in themed(plot.svg)


def test_a_plot_is_drawn_alike_twice(everything: Results) -> None:
    plot = page.sections(everything)[0].plots[0]
    assert plot.draw() == plot.draw()


def test_a_forest_shows_the_first_lines_alone() -> None:
    rows = pd.DataFrame(
        {"label": [f"line {n}" for n in range(100)], "value": 1.5, "low": np.nan, "high": np.nan,
         "kind": "one", "colour": "#1a6fe6", "marker": "o"}
    )  # fmt: skip
    found = forest.draw(rows, "Many", Scale("times", str))
    assert found.count("line ") == forest.MOST


def test_a_file_name_is_harmless_and_its_own() -> None:
    assert file_name("a b", 1) == "a-b-1.svg"
    hostile = ("../../etc", "<x>"), ("x" * 300,), ("x" * 301,), ("😀",), ("人",), ("\u202e",)
    names = [file_name(*parts) for parts in hostile]
    assert len(set(names)) == len(names)
    for name in names:
        assert re.fullmatch(r"[A-Za-z0-9._-]{5,120}", name)
