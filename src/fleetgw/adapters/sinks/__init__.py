"""Destinations of records; each sink provides ``IDispatcher``."""
