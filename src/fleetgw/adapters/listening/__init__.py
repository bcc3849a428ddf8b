"""Shared by all listeners: sockets, ports, bounds on connections without an identity, refusals."""
