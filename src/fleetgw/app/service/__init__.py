"""The life of a gateway: composition, listeners, runners of sinks, process."""
