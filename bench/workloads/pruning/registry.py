"""Every pruning method by name: the suite's own, and those of a user's modules."""

from __future__ import annotations

import hashlib
import importlib
import inspect
from collections.abc import Iterator, Sequence
from types import ModuleType

from crossover.bench.errors import InputError
from crossover.bench.workloads.pruning import dynamic, pruned, static
from crossover.bench.workloads.pruning.method import PruningMethod

#: By name; :func:`load` adds those of modules.
METHODS: dict[str, type[PruningMethod]] = {
    each.name: each for each in (*pruned.METHODS, *static.METHODS, *dynamic.METHODS)
}
OWN = tuple(METHODS)


def method_called(name: str) -> type[PruningMethod]:
    """Return a method by its name.

    Raises:
        InputError: if nothing is called so.
    """
    if name not in METHODS:
        raise InputError(f"unknown pruning method {name!r}: choose from {', '.join(METHODS)}")
    return METHODS[name]


def load(modules: Sequence[str]) -> list[str]:
    """Add the methods of ``modules``, and return their names.

    Raises:
        InputError: if a module cannot be imported, has no method, or one whose name is taken.
    """
    found = []
    for name in modules:
        try:
            module = importlib.import_module(name)
        except Exception as error:  # whatever a module does when it is imported
            raise InputError(
                f"--pruning-module {name!r} cannot be imported ({error}): give a module that "
                "Python finds, as PYTHONPATH says"
            ) from error
        methods = [*_methods_of(module)]
        if not methods:
            raise InputError(
                f"--pruning-module {name!r} has no pruning method: give it a subclass of "
                "crossover.bench.workloads.pruning.method.PruningMethod with a name"
            )
        for method in methods:
            known = METHODS.get(method.name)
            if known is not None and known.__module__ != module.__name__:
                raise InputError(
                    f"--pruning-module {name!r}: a method is called {method.name!r} already; give "
                    "yours another name"
                )
            METHODS[method.name] = method
            found.append(method.name)
    return found


def code_of(name: str) -> str:
    """Return the hash of the module of a user's method: another source trains another network.

    Of one of ours it is empty.
    """
    if name in OWN:
        return ""
    source = inspect.getsource(importlib.import_module(METHODS[name].__module__))
    return hashlib.sha256(source.encode()).hexdigest()[:16]


def _methods_of(module: ModuleType) -> Iterator[type[PruningMethod]]:
    for value in vars(module).values():
        own = isinstance(value, type) and value.__module__ == module.__name__
        if own and issubclass(value, PruningMethod) and hasattr(value, "name"):
            yield value
