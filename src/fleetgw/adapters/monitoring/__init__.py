"""Status and metrics over HTTP."""
