"""What a revision declares to need, held against what is installed: both sides run under that.

Libraries cannot differ between base and head, for all sides run in one process. But a revision may
declare others than those: then its figures are not what it would have had under its own.
"""

from __future__ import annotations

import importlib.metadata
import platform
import tomllib

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

FILE = "pyproject.toml"


def unmet(declared: str | None) -> tuple[str, ...]:
    """Return what ``declared``, a revision's pyproject.toml, needs and does not have here.

    Optional dependencies are left out: the gate measures no kernel that needs one.
    """
    if declared is None:
        return (f"no {FILE} says what it needs",)
    try:
        project = tomllib.loads(declared).get("project", {})
        required = [Requirement(line) for line in project.get("dependencies", [])]
        python = SpecifierSet(project.get("requires-python", ""))
    except (tomllib.TOMLDecodeError, InvalidRequirement, InvalidSpecifier, *_SHAPES) as error:
        return (f"its {FILE} cannot be read ({type(error).__name__})",)
    found = [_unmet(each) for each in required if each.marker is None or each.marker.evaluate()]
    if not python.contains(platform.python_version(), prereleases=True):
        found.append(f"python{python} is needed, {platform.python_version()} is installed")
    return tuple(each for each in found if each)


# Of a table that is something else, or of dependencies that are no texts.
_SHAPES = AttributeError, TypeError


def _unmet(requirement: Requirement) -> str:
    needed = f"{requirement.name}{requirement.specifier}"
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return f"{needed} is needed, none is installed"
    if requirement.specifier.contains(version, prereleases=True):
        return ""
    return f"{needed} is needed, {version} is installed"
