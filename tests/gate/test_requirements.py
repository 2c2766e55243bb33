"""What a revision declares to need is held against what is installed."""

from __future__ import annotations

import platform

import numpy as np
import pytest

from crossover.bench.gate.revisions.requirements import unmet


def project(*lines: str) -> str:
    return "\n".join(["[project]", *lines])


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ('dependencies = ["numpy>=1.20", "pytest"]',),
        ("dependencies = [\"no-such-package>=1; sys_platform == 'no-such-system'\"]",),
        ('requires-python = ">=3.8"',),
    ],
)
def test_what_is_installed_is_enough(lines: tuple[str, ...]) -> None:
    assert unmet(project(*lines)) == ()


def test_what_is_missing_or_of_another_version_is_said() -> None:
    found = unmet(
        project(
            'requires-python = ">=99"',
            'dependencies = ["numpy<1", "no-such-package==2", "scipy>=1"]',
        )
    )
    assert found == (
        f"numpy<1 is needed, {np.__version__} is installed",
        "no-such-package==2 is needed, none is installed",
        f"python>=99 is needed, {platform.python_version()} is installed",
    )


@pytest.mark.parametrize(
    "text",
    [
        "[project",
        "project = 3",
        project('dependencies = ["not a requirement"]'),
        project("dependencies = [1]"),
        project("dependencies = 1"),
        project('requires-python = "three"'),
    ],
)
def test_what_cannot_be_read_is_said(text: str) -> None:
    (found,) = unmet(text)
    assert "pyproject.toml cannot be read" in found


def test_without_a_declaration_nothing_is_known() -> None:
    assert unmet(None) == ("no pyproject.toml says what it needs",)
