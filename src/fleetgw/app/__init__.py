"""Configuration, composition, service lifecycle, command line."""
