"""Kernels written in Numba CUDA, with the vector loads and the simulator that they need."""
