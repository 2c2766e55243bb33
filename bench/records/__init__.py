"""What was measured: typed rows, the store that keeps them, and files written whole."""
