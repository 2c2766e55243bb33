"""The commands, one module each: its arguments, what it does with them, and what it prints.

A module has ``add(commands)``, which adds the command's parser and sets ``run`` of what that
parses to a function ``(options, command) -> exit code``; ``command`` is the line as it was typed.
These modules put the parts together, so they alone may import ``reports`` from within ``bench``.
"""
