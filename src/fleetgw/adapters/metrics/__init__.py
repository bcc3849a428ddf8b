"""Metrics: one store of series, and the exporters that read it."""
