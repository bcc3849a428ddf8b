"""What the listeners of the gateway share: sockets, ports, bounds on who is present, refusals."""
