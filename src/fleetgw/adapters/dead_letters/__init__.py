"""Dead letters on disk, or in memory: a spool for each sink."""
