"""Drift: reviews and labels in order become signals, episodes with their cause, and records of `labeling.drift.v1`."""
