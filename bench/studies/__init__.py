"""Studies: what to ask next, until the answer is narrow enough or the budget is spent."""
