"""Typed settings: sections and types of values, and their conversion from JSON, which reports every problem."""
