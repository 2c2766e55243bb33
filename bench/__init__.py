"""Measuring: workloads, the sweep, the records and the answers drawn from them."""
