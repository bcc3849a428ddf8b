"""What the sinks have in common: a batch under way, their numbers, a failure log that does not flood."""
