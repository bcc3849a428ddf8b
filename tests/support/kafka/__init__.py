"""Kafka for tests: a mock cluster, a consumer, and the harness that both Kafka sinks share."""
