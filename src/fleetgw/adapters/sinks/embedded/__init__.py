"""The ``embedded`` sink."""
