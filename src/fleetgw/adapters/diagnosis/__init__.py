"""Shared by the probes of sinks: blocking checks in a thread, checks of the network and of certificates."""
