"""Change detectors behind one protocol; they see numbers only, never Kafka or a clock."""
