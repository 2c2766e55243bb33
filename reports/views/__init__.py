"""One module per study: what is shown of it. A view computes from stored rows, and measures none.

Each has ``section(results)``, which returns None where nothing of the study is stored.
"""
