"""Start and end of a gateway: composition, listeners, sink runners, process."""
