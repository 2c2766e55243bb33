"""Trainings as visits: one for its outcome, epochs of several kernels, or their first steps."""
