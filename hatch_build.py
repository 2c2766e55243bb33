"""A wheel's ``crossover/__init__.py`` is ``crossover.py``; an editable install uses it in place."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class InitHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the file under its other name to a wheel that is no editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add it, with the marker that says that the package has types."""
        if version == "standard":
            build_data["force_include"] |= {
                "crossover.py": "crossover/__init__.py",
                "kernels/py.typed": "crossover/py.typed",
            }
