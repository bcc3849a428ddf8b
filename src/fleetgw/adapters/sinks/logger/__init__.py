"""The ``logger`` sink."""
