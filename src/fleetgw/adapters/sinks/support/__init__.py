"""What the sinks have in common: a batch under way, numbers, a failure log that does not flood, requests to a service."""
