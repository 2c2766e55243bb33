"""Kernels for the processor: a file per family, with what they share beside them."""
