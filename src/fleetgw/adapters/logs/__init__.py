"""Logs: lines on a stream, Python's logging, none; and Twisted's own events."""
