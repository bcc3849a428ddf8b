"""Bytes in a socket's send queue."""

import socket
from unittest import TestCase

from fleetgw.adapters.sinks.support.send_queue import unacknowledged_bytes


class SendQueueTests(TestCase):
    def setUp(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.addCleanup(self.ours.close)
        self.addCleanup(self.theirs.close)

    def test_bytes_are_in_the_queue_until_the_peer_has_taken_them(self) -> None:
        self.ours.send(bytes(1000))
        waiting = unacknowledged_bytes(self.ours)
        self.assertIsNotNone(waiting)
        self.assertGreaterEqual(waiting or 0, 1000)
        self.theirs.recv(1000)
        self.assertEqual(unacknowledged_bytes(self.ours), 0)

    def test_a_closed_socket_has_no_number(self) -> None:
        self.ours.close()
        self.assertIsNone(unacknowledged_bytes(self.ours))
