"""How kernels are found: those of this package, and those of modules that a user names."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import get_args

from .base import Device, Kernel


def discover(modules: Iterable[str] = ()) -> dict[str, Kernel]:
    """Return every kernel of this package, and of the named ``modules``, by name.

    Raises:
        ValueError: if two kernels have the same name, or a named module cannot be imported, or
            holds no kernel.
    """
    own, found = tuple(modules), dict[str, Kernel]()
    for module_name in [*_family_modules(), *own]:
        try:
            kernels = _kernels_in(importlib.import_module(module_name))
        except Exception as error:  # whatever a module of the user's does while it is imported
            raise ValueError(
                f"kernel module {module_name!r} cannot be used ({type(error).__name__}: {error}): "
                "give a module that Python finds, with what it needs installed"
            ) from error
        if not kernels and module_name in own:
            raise ValueError(
                f"module {module_name!r} holds no kernel: give its class a name (CONTRIBUTING.md)"
            )
        for kernel in kernels:
            if kernel.name in found:
                raise ValueError(f"two kernels are named {kernel.name!r}: rename one")
            found[kernel.name] = kernel
    return found


def _family_modules() -> Iterator[str]:
    """Yield the modules of the folders ``cpu`` and ``cuda``, whatever this package is called."""
    for device in get_args(Device):
        room = importlib.import_module(f".{device}", __package__)
        for info in pkgutil.walk_packages(room.__path__, f"{room.__name__}."):
            if not info.ispkg:
                yield info.name


def _kernels_in(module: ModuleType) -> list[Kernel]:
    classes = [
        member
        for member in vars(module).values()
        if inspect.isclass(member)
        and issubclass(member, Kernel)
        and member.__module__ == module.__name__
        and "name" in vars(member)
    ]
    return [cls() for cls in classes]
