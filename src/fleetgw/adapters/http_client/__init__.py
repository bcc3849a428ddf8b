"""HTTP requests to servers that the configuration names, bounded in time and memory whatever the servers answer."""
