"""Listening sockets that the process inherits are found by their names, and checked."""

import os
import socket
from unittest import TestCase

from fleetgw.app.service.inherited_sockets import inherited_sockets
from fleetgw.domain.errors import ConfigurationError


class InheritedSocketTests(TestCase):
    def descriptor(self, made: socket.socket) -> int:
        """A duplicate, which is the gateway's to close, as the inherited one is."""
        self.addCleanup(made.close)
        return os.dup(made.fileno())

    def refusal(self, descriptor: int) -> str:
        with self.assertRaises(ConfigurationError) as caught:
            inherited_sockets({"port": descriptor})
        return str(caught.exception)

    def test_sockets_are_found_by_name_and_no_child_inherits_them(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        found = inherited_sockets({"port": self.descriptor(listener)})
        with found["port"] as inherited:
            self.assertEqual(list(found), ["port"])
            self.assertEqual(inherited.getsockname(), listener.getsockname())
            self.assertFalse(inherited.getblocking())
            self.assertFalse(inherited.get_inheritable())

    def test_a_descriptor_that_does_not_listen_for_tcp_is_refused(self) -> None:
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        self.addCleanup(os.close, writing)
        self.assertIn("port: the inherited file descriptor of this name is no socket", self.refusal(reading))
        unix = socket.socket(socket.AF_UNIX)
        unix.bind("")  # an abstract name
        unix.listen()
        others = (socket.socket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM), unix)
        for other in others:
            with self.subTest(other):
                self.assertIn("does not listen for TCP connections", self.refusal(self.descriptor(other)))
