"""What keeps a kernel honest between the timed regions: fresh operands, spoilt outputs, checks."""
