"""The gate held to its word: faults planted into kernels, and none, and what it says of them."""
