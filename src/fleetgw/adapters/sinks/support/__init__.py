"""The base classes of sinks, and their parts: dispatches, readiness, counters, bounded logs, threads, requests."""
