"""Process-wide resources: the reactor, threads, the memory limit."""
