"""The ``memory`` sink."""
