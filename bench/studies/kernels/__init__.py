"""Studies of kernels rather than networks: peers, threads, and the choices that kernels make."""
