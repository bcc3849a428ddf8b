"""Secrets of the configuration, and text without them."""
