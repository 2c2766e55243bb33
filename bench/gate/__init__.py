"""The regression gate: two versions of the code, measured in one job, in turns.

What identical code differs by from one job to the next (30 % is common) is no part of the
comparison: both versions run side by side, each in its own worktree, environment and process, and
an A/A control runs beside every A/B. See ``README.md`` in this folder.
"""
