"""Free ports, for servers that a test starts."""

import socket
from contextlib import ExitStack


def free_port() -> int:
    """A TCP port of the loopback interface that is free."""
    (port,) = free_ports(1)
    return port


def free_ports(count: int) -> list[int]:
    """A number of different free ports."""
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(listener.getsockname()[1]) for listener in listeners]
