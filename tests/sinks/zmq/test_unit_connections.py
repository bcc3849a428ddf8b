"""Which of a socket's connections are cut."""

import contextlib
import os
import socket
import tempfile
from pathlib import Path

import zmq
from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.sinks.zmq.connections import Connections


class CutTests(SynchronousTestCase):
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
        """One that its peer reads nothing of; the side that is ours."""
        client = self.opened.enter_context(socket.socket(server.family))
        client.connect(server.getsockname())
        ours = self.opened.enter_context(server.accept()[0])
        if buffer_bytes is not None:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        ours.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while unread:
                ours.send(bytes(4096))
        self.connections.hear({"event": zmq.EVENT_ACCEPTED, "value": ours.fileno()})
        return ours

    def is_cut(self, connection: socket.socket) -> bool:
        try:
            return connection.recv(1) == b""
        except BlockingIOError:
            return False

    def test_those_with_most_to_be_read(self) -> None:
        server = self.listen()
        most, little, none = self.connect(server), self.connect(server, 4096), self.connect(server, unread=False)
        endpoint = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        self.assertEqual(self.connections.cut_slowest(endpoint), 1)
        self.assertEqual([self.is_cut(each) for each in (most, little, none)], [True, False, False])

    def test_where_nobody_has_anything_to_read(self) -> None:
        server = self.listen()
        connection = self.connect(server, unread=False)
        self.assertEqual(self.connections.cut_slowest(f"tcp://127.0.0.1:{server.getsockname()[1]}"), 0)
        self.assertFalse(self.is_cut(connection))

    def test_a_number_that_is_anothers_by_now(self) -> None:
        """Libzmq has closed it, and something else of this process was given it."""
        server = self.listen()
        anothers = self.connect(self.listen())
        closed = self.connect(server)
        closed.close()
        with Path(__file__).open() as file:
            self.connections.hear({"event": zmq.EVENT_ACCEPTED, "value": file.fileno()})
            before = os.listdir("/proc/self/fd")
            self.assertEqual(self.connections.cut_slowest(f"tcp://127.0.0.1:{server.getsockname()[1]}"), 0)
            self.assertEqual(len(os.listdir("/proc/self/fd")), len(before))
        self.assertFalse(self.is_cut(anothers))

    def test_one_that_is_gone_is_forgotten(self) -> None:
        server = self.listen()
        connection = self.connect(server)
        self.connections.hear({"event": zmq.EVENT_DISCONNECTED, "value": connection.fileno()})
        self.assertEqual(self.connections.cut_slowest(f"tcp://127.0.0.1:{server.getsockname()[1]}"), 0)

    def test_places_on_this_machine(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for path, endpoint in ((f"{folder}/s", f"ipc://{folder}/s"), ("\0fleetgw-" + Path(folder).name, None)):
                connection = self.connect(self.listen(path))
                self.assertEqual(self.connections.cut_slowest(endpoint or f"ipc://@{path[1:]}"), 1)
                self.assertTrue(self.is_cut(connection))
