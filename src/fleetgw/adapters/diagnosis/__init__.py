"""What the sinks' probes share: looking from a thread, at the network, at certificates."""
