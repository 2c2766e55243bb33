"""The lines of kernels stand out on the light and on the dark page."""

from __future__ import annotations

import pytest
from matplotlib.colors import to_rgb

from crossover.kernels import discover
from crossover.kernels.base import Kernel

KERNELS = list(discover().values())
#: The page's light and dark sheet.
SHEETS = "#ffffff", "#14181d"
LEAST_CONTRAST = 3.0


def luminance(colour: str) -> float:
    """Return the relative luminance as WCAG defines it."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return float(sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True)))


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_contrast_is_that_of_the_definition() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
@pytest.mark.parametrize("sheet", SHEETS)
def test_a_line_stands_out_on_light_and_on_dark(kernel: Kernel, sheet: str) -> None:
    assert contrast(kernel.look.colour, sheet) >= LEAST_CONTRAST
