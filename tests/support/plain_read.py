"""Reads of a ``VehicleSocket`` by a protocol without TLS."""

import socket

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST

from fleetgw.adapters.ingress.tls_records import CLOSED, LOST, read_socket


def plain_read(source: socket.socket) -> tuple[bytes, ConnectionDone | ConnectionLost | None]:
    """Bytes of a socket, and what ``read`` of the protocol returns."""
    status, data = read_socket(source)
    reasons: dict[int, ConnectionDone | ConnectionLost] = {CLOSED: CONNECTION_DONE, LOST: CONNECTION_LOST}
    return data, reasons.get(status)
