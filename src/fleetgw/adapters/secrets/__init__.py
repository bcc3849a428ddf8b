"""Secrets of the configuration, and masking of secrets in text."""
