"""A plan for a network: its layers measured, a kernel chosen for each, and all of it verified."""
