"""The send buffer: slices, order, and the count of bytes that have left."""

import socket
import sys
from unittest import TestCase, skipUnless

from fleetgw.adapters.sinks.mqtt.outgoing import SLICE_BYTES, Outgoing


class Transport:
    """A connection that passes bytes to a socket, or keeps them."""

    def __init__(self, handle: socket.socket | None = None) -> None:
        self.written: list[bytes] = []
        self.outgoing: Outgoing | None = None
        self.full_after: int | None = None
        self._handle = handle

    def getHandle(self) -> socket.socket | None:
        return self._handle

    def write(self, data: bytes) -> None:
        self.written.append(data)
        if self._handle is not None:
            self._handle.send(data)
        if self.outgoing is not None and self.full_after is not None and len(self.written) >= self.full_after:
            self.outgoing.pause()


def outgoing_over(transport: Transport) -> Outgoing:
    transport.outgoing = Outgoing(transport)  # type: ignore[arg-type]  # all of it that is asked for
    return transport.outgoing


class OutgoingTests(TestCase):
    def test_slices_in_order(self) -> None:
        """A large write leaves slice by slice as there is room; later writes wait behind it."""
        transport = Transport()
        outgoing = outgoing_over(transport)
        transport.full_after = 1
        data = bytes(range(256)) * 1_000
        outgoing.write(data)
        outgoing.write(b"behind")
        outgoing.write(b"last")
        self.assertEqual((len(transport.written), outgoing.full), (1, True))
        for count in range(2, 8):
            outgoing.resume()
            self.assertEqual(len(transport.written), min(count, 6))
        self.assertEqual(b"".join(transport.written), data + b"behindlast")
        self.assertLessEqual(max(map(len, transport.written)), SLICE_BYTES)
        self.assertEqual(outgoing.written_bytes, len(data) + 10)

    def test_flush_hands_over_all(self) -> None:
        transport = Transport()
        outgoing = outgoing_over(transport)
        transport.full_after = 1
        outgoing.write(b"x" * 300_000)
        outgoing.flush()
        self.assertEqual(sum(map(len, transport.written)), 300_000)

    def test_without_a_socket_bytes_leave_when_the_connection_takes_them(self) -> None:
        transport = Transport()
        outgoing = outgoing_over(transport)
        outgoing.write(b"x" * 10)
        self.assertEqual(outgoing.left_bytes(), 10)
        outgoing.pause()
        outgoing.write(b"x" * 10)
        self.assertEqual(outgoing.left_bytes(), 10)
        outgoing.resume()
        self.assertEqual(outgoing.left_bytes(), 20)

    @skipUnless(sys.platform == "linux", "other systems do not tell")
    def test_bytes_in_the_send_queue_of_a_socket_have_not_left(self) -> None:
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        outgoing = outgoing_over(Transport(ours))
        outgoing.write(b"x" * 1_000)
        self.assertEqual(outgoing.left_bytes(), 0)
        theirs.recv(2_000)
        self.assertEqual(outgoing.left_bytes(), 1_000)
        outgoing.write(b"x" * 1_000)
        self.assertEqual(outgoing.left_bytes(), 1_000)
        ours.close()
        self.assertEqual(outgoing.left_bytes(), 1_000, "a connection that has gone says nothing new")
