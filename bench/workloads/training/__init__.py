"""Networks run and trained through the kernel interface: every product is a kernel's pass."""
