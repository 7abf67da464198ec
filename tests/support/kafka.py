"""Real Apache Kafka for tests."""
