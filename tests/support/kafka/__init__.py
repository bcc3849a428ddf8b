"""Kafka for tests: a mock cluster, what a consumer gets, and the harness that both Kafka sinks share."""
