"""Kernels that are not found by themselves: ``--kernel-module`` takes a module of these."""
