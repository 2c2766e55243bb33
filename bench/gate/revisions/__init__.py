"""Revisions of the kernels: exported from git, and loaded beside each other in one process."""
