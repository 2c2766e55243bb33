"""Loops of vector code that Numba's own vectorizer does not find, as LLVM intrinsics.

A row of a sparse product keeps its results in vector registers while the row's nonzeros go by.
Numba cannot hold an array in registers, so these loops are emitted by hand, for vectors as wide
as the processor's. They take addresses and strides in bytes.
"""
