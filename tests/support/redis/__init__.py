"""Redis for tests: servers of every kind as processes, one in memory, and clients that subscribe."""
