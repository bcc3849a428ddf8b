"""Pages over HTTP: probes, the operators' page and API, metrics, profiler."""
