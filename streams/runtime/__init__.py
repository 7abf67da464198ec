"""The worker: the one place where Faust, Kafka, engine and exporter meet."""
