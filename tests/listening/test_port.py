"""The accept loop over a scripted socket, and listening sockets of both protocols."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any, cast
from unittest import TestCase, mock

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from zope.interface import implementer

from fleetgw.adapters.listening.port import ACCEPTS_PER_TURN, PAUSE_S, BoundedPort, SpareDescriptors, listen
from fleetgw.adapters.listening.refusals import Refusals
from fleetgw.adapters.listening.sockets import bind_listener, plain_address
from fleetgw.domain.line_limit import INTERVAL_S
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics
from tests.support.deadline import DEADLINE_S


@implementer(IReactorFDSet)
class DescriptorReactor(Clock):
    """A clock that knows the readers."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: set[object] = set()

    def addReader(self, reader: object) -> None:
        self.readers.add(reader)

    def removeReader(self, reader: object) -> None:
        self.readers.discard(reader)

    def addWriter(self, writer: object) -> None:
        pass

    def removeWriter(self, writer: object) -> None:
        pass


class ScriptedListener:
    """A listening socket with a script of peers' addresses and error numbers, and an empty queue after it."""

    def __init__(self, *script: tuple[Any, ...] | int) -> None:
        self.script = list(script)
        self.accepted: list[mock.Mock] = []

    def accept(self) -> tuple[Any, tuple[Any, ...]]:
        step = self.script.pop(0) if self.script else errno.EAGAIN
        if isinstance(step, int):
            raise OSError(step, os.strerror(step))
        self.accepted.append(mock.Mock(name=str(step)))
        return self.accepted[-1], step

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", 4443

    def fileno(self) -> int:
        return 3

    def close(self) -> None:
        self.script = []


class Transport:
    """Transport of a connection."""

    def __init__(self, _socket: object, protocol: Protocol, peer: tuple[object, ...], *_: object) -> None:
        self.peer = peer


class PortTests(TestCase):
    def setUp(self) -> None:
        self.reactor, self.log, self.metrics = DescriptorReactor(), ReadableLog(), ReadableMetrics()
        self.refusals = Refusals("vehicles", self.metrics, self.log, self.reactor.seconds)
        self.peers: list[object] = []
        self.factory = Factory()
        self.factory.buildProtocol = self.build  # type: ignore[method-assign]  # records each connection
        self.room = True

    def build(self, address: object) -> Protocol | None:
        self.peers.append(address)
        return Protocol()

    def port(self, *script: tuple[Any, ...] | int, always: bool = False) -> BoundedPort:
        self.listener = ScriptedListener(*script)
        listener, reactor, transport = cast("tuple[Any, Any, Any]", (self.listener, self.reactor, Transport))  # doubles
        port = BoundedPort(listener, self.factory, reactor, self.refusals, transport, None if always else lambda: self.room)
        port.startListening()
        self.addCleanup(port.stopListening)
        return port

    def paused(self, reason: str) -> float:
        return self.metrics.value("accept_pauses_total", "vehicles", reason)

    def test_a_bounded_number_in_one_turn(self) -> None:
        port = self.port(*[("10.0.0.1", number) for number in range(100)])
        port.doRead()
        self.assertEqual(len(self.peers), ACCEPTS_PER_TURN)
        port.doRead()
        self.assertEqual(len(self.peers), 2 * ACCEPTS_PER_TURN)

    def test_no_room_leaves_connections_in_the_queue(self) -> None:
        port = self.port(("10.0.0.1", 1))
        self.room = False
        port.doRead()
        self.assertEqual(self.peers, [])
        self.assertNotIn(port, self.reactor.readers)
        self.assertEqual(self.paused("half_open"), 1)
        self.room = True
        self.reactor.advance(PAUSE_S)
        self.assertIn(port, self.reactor.readers)
        port.doRead()
        self.assertEqual(len(self.peers), 1)

    def test_without_descriptors_connections_wait_with_one_log_line_in_ten_seconds(self) -> None:
        for number in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS):
            self.setUp()
            port = self.port(number, number, number, ("10.0.0.1", 1))
            for _ in range(3):
                port.doRead()
                self.assertNotIn(port, self.reactor.readers)
                self.reactor.advance(PAUSE_S)
            self.assertEqual(self.paused("no_descriptors"), 3)
            (said,) = self.log.fields_of("accepting_paused")
            self.assertIn("LimitNOFILE", said["error"])
            self.assertEqual(said["more_unwritten"], 0)
            port.doRead()
            self.assertEqual(len(self.peers), 1)
            self.reactor.advance(INTERVAL_S)
            self.listener.script = [number]
            port.doRead()
            self.assertEqual([each["more_unwritten"] for each in self.log.fields_of("accepting_paused")], [0, 2])

    def test_a_port_that_must_answer_has_reserved_descriptors(self) -> None:
        port = self.port(errno.EMFILE, ("10.0.0.1", 1), always=True)
        with mock.patch.object(SpareDescriptors, "reserve"):  # none is free any more
            port.doRead()
        self.assertEqual(len(self.peers), 1)
        self.assertEqual(self.paused("no_descriptors"), 0)
        self.listener.script = [errno.EMFILE, ("10.0.0.1", 2)]
        with mock.patch.object(SpareDescriptors, "reserve"):
            port.doRead()
        self.assertEqual(len(self.peers), 1)
        self.assertEqual(self.paused("no_descriptors"), 1)

    def test_descriptors_are_reserved_again(self) -> None:
        spare = SpareDescriptors(3)
        spare.reserve()
        self.assertTrue(spare.release())
        self.assertFalse(spare.release())
        spare.reserve()
        self.assertTrue(spare.release())

    def test_an_error_of_one_connection_does_not_stop_the_port(self) -> None:
        port = self.port(errno.ECONNABORTED, errno.EPROTO, ("10.0.0.1", 1))
        port.doRead()
        self.assertEqual(len(self.peers), 1)

    def test_a_refused_connection_is_closed(self) -> None:
        self.factory.buildProtocol = lambda _address: None  # type: ignore[method-assign]
        port = self.port(("10.0.0.1", 1), ("10.0.0.2", 1))
        port.doRead()
        for accepted in self.listener.accepted:
            accepted.close.assert_called_once_with()
        self.assertEqual(len(self.listener.accepted), 2)

    def test_a_stop_during_a_pause(self) -> None:
        port = self.port(errno.EMFILE)
        port.doRead()
        port.stopListening()
        self.reactor.advance(PAUSE_S)
        self.assertEqual(self.reactor.readers, set())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_addresses_of_peers(self) -> None:
        port = self.port(("::ffff:10.0.0.1", 5, 0, 0), ("2001:db8::1", 6, 0, 0), ("10.0.0.2", 7))
        port.doRead()
        self.assertEqual(
            self.peers,
            [IPv4Address("TCP", "10.0.0.1", 5), IPv6Address("TCP", "2001:db8::1", 6), IPv4Address("TCP", "10.0.0.2", 7)],
        )

    def test_plain_addresses(self) -> None:
        self.assertEqual(plain_address(("::ffff:1.2.3.4", 5, 0, 0)), ("1.2.3.4", 5))
        self.assertEqual(plain_address(("::1", 5, 0, 0)), ("::1", 5, 0, 0))


NAMELESS = "a..b", "x" * 64 + ".example"


class SocketTests(TestCase):
    def listener(self, host: str) -> socket.socket:
        made = bind_listener(host, 0, 1)
        self.addCleanup(made.close)
        return made

    def test_a_name_that_no_host_can_have(self) -> None:
        for host in NAMELESS:
            with self.assertRaises(OSError):
                self.listener(host)

    def reaches(self, listener: socket.socket, host: str) -> bool:
        try:
            socket.create_connection((host, listener.getsockname()[1]), DEADLINE_S).close()
        except OSError:
            return False
        return True

    def test_every_address(self) -> None:
        for host in ("", "0.0.0.0", "::", "[::]"):
            with self.subTest(host):
                listener = self.listener(host)
                self.assertTrue(self.reaches(listener, "127.0.0.1"))
                if listener.family == socket.AF_INET6:
                    self.assertTrue(self.reaches(listener, "::1"))

    def test_ipv4_where_there_is_no_ipv6(self) -> None:
        make = socket.socket

        def without_ipv6(family: int, *rest: Any) -> socket.socket:
            if family == socket.AF_INET6:
                raise OSError(errnos[-1], os.strerror(errnos[-1]))
            return make(family, *rest)

        errnos: list[int] = []
        for number in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            errnos.append(number)
            with mock.patch("fleetgw.adapters.listening.sockets.socket.socket", without_ipv6):
                listener = self.listener("")
            self.assertEqual(listener.family, socket.AF_INET)
            self.assertTrue(self.reaches(listener, "127.0.0.1"))

    def test_one_address(self) -> None:
        self.assertEqual(self.listener("localhost").family, socket.AF_INET)
        self.assertEqual(self.listener("127.0.0.1").getsockname()[0], "127.0.0.1")
        try:
            listener = self.listener("[::1]")
        except OSError:
            self.skipTest("no IPv6 here")
        self.assertEqual(listener.getsockname()[0], "::1")
        self.assertFalse(self.reaches(listener, "127.0.0.1"))

    def test_a_reactor_without_descriptors_has_ports_of_its_own(self) -> None:
        reactor = mock.Mock(spec=["listenTCP"])
        port = listen(reactor, "h", 1, Factory(), mock.Mock())
        self.assertIs(port, reactor.listenTCP.return_value)
