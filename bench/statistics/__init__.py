"""Answers as pure functions of rows: speedups, crossovers, rates, warnings."""
