"""Process-wide resources: the reactor and the memory limit."""
