"""The regression gate: the kernels of two revisions, raced against each other by one harness.

What identical code differs by from one job to the next (30 % is common) is no part of the
comparison: base, a second copy of base (the A/A control) and head compete in the same races. Only
``kernels/`` comes from each revision; all that measures is of the tree that the gate is started
from. See ``README.md`` in this folder.
"""
