"""Kafka, by either of two clients behind one configuration section."""
