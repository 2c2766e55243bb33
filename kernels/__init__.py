"""Kernels that multiply a pruned weight by a batch, all on one contract.

See :mod:`kernels.base` for the contract and ``kernels/README.md`` for how a kernel is added.
"""
