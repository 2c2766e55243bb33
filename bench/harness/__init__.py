"""A visit from beginning to end: worker, task, race, checks."""
