"""The control socket: the gateway's side in memory, both sides over a real socket in test_process of dead letters."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.control.client import NotRunning, Refused, ask
from fleetgw.adapters.control.server import MAX_CLIENTS, MAX_REQUEST_BYTES, REQUEST_TIMEOUT_S, CommandError, ControlServer
from fleetgw.testing.sink_doubles import ReadableLog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted.internet.protocol import Factory


class UnixReactor(Clock):
    """Unix sockets in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.factory: Any = None  # the server's
        self.stops = 0
        self.fails = False

    def listenUNIX(self, address: str, factory: Factory, backlog: int = 50, mode: int = 0o666) -> UnixReactor:
        """Listen."""
        if self.fails:
            raise CannotListenError(None, address, OSError(28, "No space left on device"))
        self.factory, self.mode = factory, mode
        return self

    def stopListening(self) -> None:
        """Listen no more."""
        self.stops += 1


class ServerTests(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = folder.name
        self.reactor = UnixReactor()
        self.log = ReadableLog()
        self.under_way: list[Deferred[object]] = []
        self.steps: list[str] = []
        self.stubborn: Deferred[None] = Deferred()
        self.stubborn.cancel = lambda: None  # type: ignore[method-assign]  # as answers of the storage
        self.server = ControlServer(
            self.path,
            {
                "echo": self.echo,
                "wait": self.wait,
                "stubborn": self.stubborn_command,
                "fail": self.fail_command,
                "break": self.break_command,
            },
            cast("Any", self.reactor),  # its few methods that a server needs
            self.log,
        )
        self.server.start()

    async def echo(self, request: Mapping[str, object], progress: Callable[[object], None]) -> object:
        progress("half")
        return request

    async def wait(self, _request: Mapping[str, object], _progress: Callable[[object], None]) -> object:
        self.under_way.append(Deferred())
        return await self.under_way[-1]

    async def stubborn_command(self, _request: Mapping[str, object], progress: Callable[[object], None]) -> object:
        self.steps.append("begun")
        await self.stubborn
        progress("half")
        self.steps.append("went on")
        return None

    async def fail_command(self, _request: Mapping[str, object], _progress: Callable[[object], None]) -> object:
        raise CommandError("no such thing; name another one")

    async def break_command(self, _request: Mapping[str, object], _progress: Callable[[object], None]) -> object:
        raise TypeError("odd")

    def connect(self) -> tuple[Any, StringTransport]:
        client, transport = self.reactor.factory.buildProtocol(None), StringTransport()
        client.makeConnection(transport)
        return client, transport

    def answers(self, request: bytes) -> list[dict[str, object]]:
        client, transport = self.connect()
        client.dataReceived(request + b"\n")
        self.assertTrue(transport.disconnecting)
        return [json.loads(line) for line in transport.value().splitlines()]

    def test_a_command_gets_its_members_and_answers_with_progress_and_result(self) -> None:
        answers = self.answers(b'{"command": "echo", "a": [1]}')
        self.assertEqual(answers, [{"progress": "half"}, {"result": {"a": [1]}}])

    def test_only_the_owner_may_connect(self) -> None:
        self.assertEqual(self.reactor.mode, 0o600)

    def test_a_request_that_is_nested_too_deeply_is_answered(self) -> None:
        (answer,) = self.answers(b"[" * 4000)
        self.assertIn("knows no such command", str(answer["error"]))

    def test_what_is_no_request_is_answered(self) -> None:
        for request in (b"", b"nonsense", b"[]", b"1", b"{}", b'{"command": "rm"}', b'{"command": []}', b"\xff"):
            (answer,) = self.answers(request)
            self.assertIn("it knows: break, echo, fail, stubborn, wait", str(answer["error"]))

    def test_errors_are_answers(self) -> None:
        self.assertEqual(self.answers(b'{"command": "fail"}'), [{"error": "no such thing; name another one"}])
        self.assertEqual(self.answers(b'{"command": "break"}'), [{"error": "the gateway failed: TypeError: odd"}])

    def test_a_request_is_bounded_in_size_and_time(self) -> None:
        client, transport = self.connect()
        client.dataReceived(b"x" * (MAX_REQUEST_BYTES + 1))
        self.assertTrue(transport.disconnecting)
        client, transport = self.connect()
        client.dataReceived(b'{"command"')
        self.reactor.advance(REQUEST_TIMEOUT_S)
        self.assertTrue(transport.disconnecting)

    def test_a_command_may_take_longer(self) -> None:
        client, transport = self.connect()
        client.dataReceived(b'{"command": "wait"}\n{"command": "wait"}\n')
        self.reactor.advance(1000)
        self.assertFalse(transport.disconnecting)
        (waiting,) = self.under_way
        waiting.callback(1)
        self.assertEqual(transport.value(), b'{"result": 1}\n')

    def test_the_number_of_clients_is_bounded(self) -> None:
        clients = [self.connect()[0] for _ in range(MAX_CLIENTS)]
        _, transport = self.connect()
        self.assertTrue(transport.disconnecting)
        self.assertIn(b"try again later", transport.value())
        clients[0].connectionLost()
        _, transport = self.connect()
        self.assertFalse(transport.disconnecting)

    def test_a_client_that_goes_away_gives_its_command_up(self) -> None:
        client, _ = self.connect()
        client.dataReceived(b'{"command": "wait"}\n')
        client.connectionLost()
        self.assertTrue(self.under_way[0].called)  # it was cancelled

    def test_a_command_that_was_given_up_while_it_could_not_be_cancelled_ends_at_its_next_progress(self) -> None:
        client, transport = self.connect()
        client.dataReceived(b'{"command": "stubborn"}\n')
        client.connectionLost()
        self.stubborn.callback(None)
        self.assertNotIn(b"result", transport.value())
        self.assertEqual(self.steps, ["begun"])

    def test_the_stop_gives_commands_up_and_says_so(self) -> None:
        client, transport = self.connect()
        _, silent = self.connect()
        client.dataReceived(b'{"command": "wait"}\n')
        self.successResultOf(self.server.stop())
        self.assertEqual(transport.value(), b'{"error": "the gateway stops"}\n')
        self.assertEqual(silent.value(), b'{"error": "the gateway stops"}\n')
        self.assertEqual(self.reactor.stops, 1)

    def test_a_socket_that_was_left_is_replaced(self) -> None:
        self.successResultOf(self.server.stop())
        (Path(self.path) / "control").touch()
        self.server.start()
        self.assertFalse((Path(self.path) / "control").exists())

    def test_a_gateway_that_cannot_listen_runs_on(self) -> None:
        self.reactor.fails = True
        before = len(os.listdir("/proc/self/fd"))
        server = ControlServer(self.path, {}, cast("Any", self.reactor), self.log)
        server.start()
        self.assertIn("No space left", str(self.log.fields_of("control_failed")[0]["error"]))
        self.successResultOf(server.stop())
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)


class ClientTests(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = folder.name
        self.socket = self.path + "/control"

    def refused(self) -> str:
        with self.assertRaises(Refused) as caught:
            ask(self.path, "echo", lambda _: None)
        return str(caught.exception)

    def test_without_a_gateway(self) -> None:
        self.assertRaises(NotRunning, ask, self.path, "echo", print)
        self.assertRaises(NotRunning, ask, self.path + "/missing", "echo", print)

    def test_a_socket_that_was_left(self) -> None:
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(self.socket)
        self.assertRaises(NotRunning, ask, self.path, "echo", print)

    def test_a_gateway_that_ends_before_it_answers(self) -> None:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(self.socket)
            server.listen()
            server.shutdown(socket.SHUT_RD)
            with self.assertRaises((Refused, NotRunning)):
                ask(self.path, "echo", print)
