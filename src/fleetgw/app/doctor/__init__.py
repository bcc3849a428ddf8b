"""Looks at everything that a gateway with a given configuration needs, before it does."""
