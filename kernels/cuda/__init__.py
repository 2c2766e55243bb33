"""Kernels for an NVIDIA GPU: a file per family, with what they share beside them."""
