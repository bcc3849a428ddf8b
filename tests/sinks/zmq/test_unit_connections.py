"""The choice of slow connections to disconnect."""

import contextlib
import os
import socket
import tempfile
from pathlib import Path

import zmq
from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.sinks.zmq.connections import Connections


class DisconnectTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.opened = contextlib.ExitStack()
        self.addCleanup(self.opened.close)
        self.connections = Connections()

    def listen(self, path: str | None = None) -> socket.socket:
        server = socket.socket(socket.AF_INET if path is None else socket.AF_UNIX)
        self.opened.enter_context(server)
        server.bind(("127.0.0.1", 0) if path is None else path)
        server.listen()
        return server

    def connect(self, server: socket.socket, buffer_bytes: int | None = None, *, unread: bool = True) -> socket.socket:
        """Our side of a connection; its peer reads nothing."""
        client = self.opened.enter_context(socket.socket(server.family))
        client.connect(server.getsockname())
        ours = self.opened.enter_context(server.accept()[0])
        if buffer_bytes is not None:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        ours.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while unread:
                ours.send(bytes(4096))
        self.connections.note({"event": zmq.EVENT_ACCEPTED, "value": ours.fileno()})
        return ours

    def is_disconnected(self, connection: socket.socket) -> bool:
        try:
            return connection.recv(1) == b""
        except BlockingIOError:
            return False

    def test_the_ones_with_most_unread_bytes(self) -> None:
        server = self.listen()
        most, little, none = self.connect(server), self.connect(server, 4096), self.connect(server, unread=False)
        endpoint = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        self.assertEqual(self.connections.disconnect_slowest(endpoint), 1)
        self.assertEqual([self.is_disconnected(each) for each in (most, little, none)], [True, False, False])

    def test_no_unread_bytes(self) -> None:
        server = self.listen()
        connection = self.connect(server, unread=False)
        self.assertEqual(self.connections.disconnect_slowest(f"tcp://127.0.0.1:{server.getsockname()[1]}"), 0)
        self.assertFalse(self.is_disconnected(connection))

    def test_a_descriptor_that_belongs_to_another_file_by_now(self) -> None:
        """libzmq has closed it, and the process has reused the number."""
        server = self.listen()
        of_another_server = self.connect(self.listen())
        closed = self.connect(server)
        closed.close()
        with Path(__file__).open() as file:
            self.connections.note({"event": zmq.EVENT_ACCEPTED, "value": file.fileno()})
            before = os.listdir("/proc/self/fd")
            self.assertEqual(self.connections.disconnect_slowest(f"tcp://127.0.0.1:{server.getsockname()[1]}"), 0)
            self.assertEqual(len(os.listdir("/proc/self/fd")), len(before))
        self.assertFalse(self.is_disconnected(of_another_server))

    def test_a_closed_connection_is_forgotten(self) -> None:
        server = self.listen()
        connection = self.connect(server)
        self.connections.note({"event": zmq.EVENT_DISCONNECTED, "value": connection.fileno()})
        self.assertEqual(self.connections.disconnect_slowest(f"tcp://127.0.0.1:{server.getsockname()[1]}"), 0)

    def test_unix_sockets(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for path, endpoint in ((f"{folder}/s", f"ipc://{folder}/s"), ("\0fleetgw-" + Path(folder).name, None)):
                connection = self.connect(self.listen(path))
                self.assertEqual(self.connections.disconnect_slowest(endpoint or f"ipc://@{path[1:]}"), 1)
                self.assertTrue(self.is_disconnected(connection))
