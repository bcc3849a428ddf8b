"""Typed settings: sections, the values that they hold, and their conversion from JSON with every problem found."""
