"""Listeners: sockets, ports, bounds on connections without an identity, refusals."""
