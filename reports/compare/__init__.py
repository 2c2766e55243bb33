"""Runs of several machines, versions or days side by side: equal workloads, named settings."""
