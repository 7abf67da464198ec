"""Faults driven against whole workers on real Kafka, and what must hold afterwards: `python -m tests.faults --help`."""
