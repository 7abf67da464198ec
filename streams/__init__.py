"""The monitor: from records of the events topic to figures, checkpoints and metrics."""
