"""Pages over HTTP: status, metrics, profiler."""
