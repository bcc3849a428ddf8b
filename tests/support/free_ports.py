"""Free ports, for servers that a test starts."""

import socket


def free_port() -> int:
    """A TCP port of the loopback interface that is free."""
    (port,) = free_ports(1)
    return port


def free_ports(count: int) -> list[int]:
    """A number of different free ports.

    Each stays bound until this process ends, but does not listen: a server that sets ``SO_REUSEADDR`` can listen there, and
    neither another test nor an outgoing connection gets the port before it starts or between two starts.
    """
    return [_reserved_port() for _ in range(count)]


def _reserved_port() -> int:
    reservation = socket.socket()
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reservation.bind(("127.0.0.1", 0))
    port = int(reservation.getsockname()[1])
    reservation.detach()  # kept open
    return port
