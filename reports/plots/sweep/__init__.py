"""The plots of a sweep, one module per kind."""
