"""Sockets in an epoll of their own: over loopback sockets, below a reactor that a test turns by hand or one of Twisted's."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import select
import socket
import struct
import weakref
from typing import TYPE_CHECKING, Any
from unittest import mock

from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionAborted, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol, IReactorFDSet
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.pollreactor import PollReactor
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from fleetgw.adapters.ingress import poller as poller_module
from fleetgw.adapters.ingress.factory import VehicleFactory
from fleetgw.adapters.ingress.limits import IngressLimits
from fleetgw.adapters.ingress.poller import EVENTS_PER_LOOK, Poller
from fleetgw.adapters.ingress.tls_records import READ_BYTES
from fleetgw.adapters.ingress.turns import Turns
from fleetgw.adapters.ingress.vehicle_socket import VehicleSocket
from fleetgw.domain.identity import DEFAULT_ISSUERS
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics
from tests.support.plain_read import plain_read

if TYPE_CHECKING:
    from collections.abc import Callable

READY_WITHIN_S = 10


@implementer(IReactorFDSet)
class HandTurnedReactor(Clock):
    """A clock that watches descriptors; ``turn`` reads each one that is ready, in the order added."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: dict[Any, None] = {}
        self.writers: dict[Any, None] = {}

    def addReader(self, reader: object) -> None:
        self.readers[reader] = None

    def removeReader(self, reader: object) -> None:
        self.readers.pop(reader, None)

    def addWriter(self, writer: object) -> None:
        self.writers[writer] = None

    def removeWriter(self, writer: object) -> None:
        self.writers.pop(writer, None)

    def due(self) -> None:
        """Call the timers that are due; unlike with ``advance``, those that they start wait for the next time."""
        for call in self.getDelayedCalls():
            if call.getTime() <= self.seconds():
                self.calls.remove(call)  # type: ignore[attr-defined]  # private
                call.func()  # type: ignore[attr-defined]

    def turn(self) -> None:
        for reader in select.select([*self.readers], [], [], 0)[0]:
            reader.doRead()


class Received(Protocol):
    """Stores the calls of the transport; ``during`` is called with each read."""

    def __init__(self, during: Callable[[], object] | None = None) -> None:
        self.calls: list[object] = []
        self._during = during

    def read(self, source: socket.socket) -> Exception | None:
        data, reason = plain_read(source)
        if data:
            self.calls.append(data)
            if self._during is not None:
                self._during()
        return reason

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.calls.append((reason.type, str(reason.value)))


@implementer(IHalfCloseableProtocol)
class HalfClosed(Received):
    """Remains after the peer has ended its side."""

    def readConnectionLost(self) -> None:
        self.calls.append("end of the peer's side")

    def writeConnectionLost(self) -> None:
        pass


class FailsAtTheEnd(Received):
    """Its last call fails."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        raise ValueError("at the end")


def fail(kind: type[BaseException], text: str = "") -> None:
    raise kind(text)


class Descriptor:
    """Another descriptor of the reactor; counts its reads, and always has bytes."""

    def __init__(self) -> None:
        self.reads = 0
        self.ours, self.theirs = socket.socketpair()
        self.theirs.send(b"x")

    def fileno(self) -> int:
        return self.ours.fileno()

    def doRead(self) -> None:
        self.reads += 1


class PollerCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor: Any = self.make_reactor()
        self.poller = Poller(self.reactor)
        self.poller.open()
        self.addCleanup(self.poller.close)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.listener.close)

    def make_reactor(self) -> object:
        return HandTurnedReactor()

    def accept(self) -> tuple[socket.socket, socket.socket]:
        """Both ends of a new connection, ours first."""
        peer = socket.create_connection(self.listener.getsockname())
        self.addCleanup(peer.close)
        ours, _ = self.listener.accept()
        ours.setblocking(False)
        return ours, peer

    def carry(self, ours: socket.socket, protocol: Protocol) -> VehicleSocket:
        transport = VehicleSocket(self.poller, ours, protocol, ours.getpeername(), None, 1, self.reactor)
        self.addCleanup(transport.connectionLost, Failure(CONNECTION_LOST))
        return transport

    def connect(self, protocol: Protocol) -> tuple[VehicleSocket, socket.socket]:
        """A socket below a protocol, and its peer."""
        ours, peer = self.accept()
        return self.carry(ours, protocol), peer

    def renumbered(self, ours: socket.socket, descriptor: int) -> socket.socket:
        """The same socket with a descriptor that is free."""
        os.dup2(ours.fileno(), descriptor)
        ours.close()
        renumbered = socket.socket(fileno=descriptor)
        renumbered.setblocking(False)
        return renumbered

    def ready(self, *transports: VehicleSocket) -> None:
        """Wait until there is something to read in each socket."""
        for transport in transports:
            self.assertTrue(select.select([transport], [], [], READY_WITHIN_S)[0])

    def many(self, count: int) -> tuple[list[VehicleSocket], list[Received]]:
        """Sockets that have a byte to read."""
        protocols = [Received() for _ in range(count)]
        pairs = [self.connect(protocol) for protocol in protocols]
        for _, peer in pairs:
            peer.send(b"x")
        transports = [transport for transport, _ in pairs]
        self.ready(*transports)
        return transports, protocols


class ReadingTests(PollerCase):
    def test_the_reactor_watches_the_poller_and_no_socket(self) -> None:
        received = Received()
        transport, peer = self.connect(received)
        peer.send(b"one")
        self.ready(transport)
        self.reactor.turn()
        self.assertEqual(received.calls, [b"one"])
        self.assertEqual([*self.reactor.readers], [self.poller])

    def test_bytes_that_a_read_leaves_are_read_next(self) -> None:
        """Though none arrive in between."""
        received = Received()
        transport, peer = self.connect(received)
        sent = bytes(READ_BYTES + 1000)
        peer.sendall(sent)
        while len(transport.socket.recv(len(sent), socket.MSG_PEEK)) < len(sent):
            self.ready(transport)
        for _ in range(2):
            self.reactor.turn()
        self.assertEqual(received.calls, [sent[:READ_BYTES], sent[READ_BYTES:]])

    def test_a_paused_socket_is_not_read(self) -> None:
        received = Received()
        transport, peer = self.connect(received)
        for _ in range(2):  # once more changes nothing
            transport.stopReading()
        peer.send(b"one")
        self.ready(transport)
        self.reactor.turn()
        self.assertEqual(received.calls, [])
        for _ in range(2):
            transport.startReading()
        self.reactor.turn()
        self.assertEqual(received.calls, [b"one"])

    def test_a_socket_that_another_one_pauses_is_not_read_in_the_same_look(self) -> None:
        protocols: list[Received] = []
        transports: list[VehicleSocket] = []
        for number in range(2):
            protocols.append(Received(lambda number=number: transports[1 - number].stopReading()))  # type: ignore[misc]  # a default
            transport, peer = self.connect(protocols[-1])
            transports.append(transport)
            peer.send(b"x")
        self.ready(*transports)
        self.reactor.turn()
        self.assertEqual(sorted(len(each.calls) for each in protocols), [0, 1])

    def test_a_descriptor_that_belongs_to_another_socket_by_now(self) -> None:
        """One socket's bytes end the other one, and open a third one with the same descriptor, all within one look."""
        new = Received()
        ours, new_peer = self.accept()
        opened: list[VehicleSocket] = []

        def end_the_other(number: int) -> None:
            other = pairs[1 - number][0]
            descriptor = other.fileno()
            other.connectionLost(Failure(ConnectionAborted()))
            opened.append(self.carry(self.renumbered(ours, descriptor), new))

        protocols = [Received(lambda number=number: end_the_other(number)) for number in range(2)]  # type: ignore[misc]  # a default
        pairs = [self.connect(protocol) for protocol in protocols]
        for _, peer in pairs:
            peer.send(b"old")
        self.ready(*(transport for transport, _ in pairs))
        self.reactor.turn()
        self.assertEqual(sorted(len(each.calls) for each in protocols), [1, 1])
        self.assertEqual(sum(b"old" in each.calls for each in protocols), 1)
        self.assertEqual(new.calls, [])
        new_peer.send(b"new")
        self.ready(*opened)
        self.reactor.turn()
        self.assertEqual(new.calls, [b"new"])

    def test_the_descriptor_of_a_socket_that_was_closed_behind_its_back(self) -> None:
        transport, _ = self.connect(Received())
        ours, peer = self.accept()
        descriptor = transport.fileno()
        transport.socket.close()
        new = Received()
        replacement = self.carry(self.renumbered(ours, descriptor), new)
        peer.send(b"new")
        self.ready(replacement)
        self.reactor.turn()
        self.assertEqual(new.calls, [b"new"])

    def test_an_error_at_the_end_of_a_socket_does_not_affect_the_others(self) -> None:
        other = Received()
        pairs = [self.connect(FailsAtTheEnd()), self.connect(other)]
        pairs[0][1].close()
        pairs[1][1].send(b"x")
        self.ready(*(transport for transport, _ in pairs))
        self.reactor.turn()
        self.assertEqual(other.calls, [b"x"])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_an_ended_socket_leaves_nothing(self) -> None:
        """Without the garbage collector, whatever has ended it."""
        ends: list[tuple[Callable[[], object] | None, Callable[[socket.socket], object]]] = [
            (None, socket.socket.close),
            (lambda: fail(ValueError, "of the protocol"), lambda peer: peer.send(b"x")),
        ]
        for during, end in ends:
            transport, peer = self.connect(Received(during))
            end(peer)
            self.ready(transport)
            left = weakref.ref(transport)
            self._cleanups.pop()  # which refers to the socket
            del transport
            gc.collect()
            gc.disable()
            try:
                with mock.patch.object(poller_module.log, "err"):  # without a log, Twisted keeps the last errors
                    self.reactor.turn()
                self.assertIsNone(left())
            finally:
                gc.enable()


class BoundsTests(PollerCase):
    def test_a_look_reads_a_bounded_number_of_sockets_and_then_it_is_the_others_turn(self) -> None:
        other = Descriptor()
        self.addCleanup(other.theirs.close)
        self.addCleanup(other.ours.close)
        _, protocols = self.many(2 * EVENTS_PER_LOOK + 10)
        self.reactor.addReader(other)
        read = []
        for _ in range(3):
            self.reactor.turn()
            read.append((sum(len(each.calls) for each in protocols), other.reads))
        self.assertEqual(read, [(EVENTS_PER_LOOK, 1), (2 * EVENTS_PER_LOOK, 2), (2 * EVENTS_PER_LOOK + 10, 3)])
        self.assertEqual([len(each.calls) for each in protocols], [1] * len(protocols))

    def test_a_busy_vehicle_is_read_once_in_a_look(self) -> None:
        """It always has further bytes; neither another vehicle nor another descriptor waits longer for that."""
        other = Descriptor()
        self.addCleanup(other.theirs.close)
        self.addCleanup(other.ours.close)
        self.reactor.addReader(other)
        busy, quiet = Received(lambda: flood.send(b"x")), Received()
        transport, flood = self.connect(busy)
        quiet_transport, peer = self.connect(quiet)
        flood.send(b"x")
        for number in range(1, 4):
            peer.send(b"y")
            self.ready(transport, quiet_transport)
            self.reactor.turn()
            self.assertEqual((len(busy.calls), len(quiet.calls), other.reads), (number, number, number))

    def test_sockets_beyond_the_bound_are_read_next(self) -> None:
        """Though the first ones have bytes again by then."""
        with mock.patch.object(poller_module, "EVENTS_PER_LOOK", 4):
            protocols: list[Received] = []
            peers: list[socket.socket] = []
            transports = []
            for number in range(12):
                protocols.append(Received(lambda number=number: peers[number].send(b"x")))  # type: ignore[misc]  # a default
                transport, peer = self.connect(protocols[-1])
                transports.append(transport)
                peers.append(peer)
            for peer in peers:
                peer.send(b"x")
            for looks in range(1, 10):
                self.ready(*transports)
                self.reactor.turn()
                counts = [len(each.calls) for each in protocols]
                self.assertEqual((sum(counts), max(counts)), (4 * looks, -(-looks // 3)), counts)

    def test_sockets_wait_from_a_look_that_met_its_bound_until_each_was_read_once(self) -> None:
        with mock.patch.object(poller_module, "EVENTS_PER_LOOK", 4):
            self.many(10)
            waits = [self.poller.has_unread()]
            for _ in range(3):
                self.reactor.turn()
                waits.append(self.poller.has_unread())
        self.assertEqual(waits, [False, True, True, False])

    def test_nobody_waits_for_bytes_that_came_after_a_round(self) -> None:
        with mock.patch.object(poller_module, "EVENTS_PER_LOOK", 4):
            transport, peer = self.connect(Received())
            self.many(7)
            for _ in range(2):
                self.reactor.turn()
            peer.send(b"x")
            self.ready(transport)
            self.assertFalse(self.poller.has_unread())

    def test_sockets_that_stay_ready_are_waited_for_one_round_long(self) -> None:
        with mock.patch.object(poller_module, "EVENTS_PER_LOOK", 4):
            peers: list[socket.socket] = []
            for number in range(8):
                transport, peer = self.connect(Received(lambda number=number: peers[number].send(b"x")))  # type: ignore[misc]  # a default
                peers.append(peer)
                peer.send(b"x")
                self.ready(transport)
            waits = []
            for _ in range(4):
                self.reactor.turn()
                waits.append(self.poller.has_unread())
        self.assertEqual(waits, [True, False, True, False])

    def test_nobody_waits_for_sockets_that_have_gone(self) -> None:
        with mock.patch.object(poller_module, "EVENTS_PER_LOOK", 4):
            transports, protocols = self.many(8)
            self.reactor.turn()
            self.assertTrue(self.poller.has_unread())
            for transport, protocol in zip(transports, protocols, strict=True):
                if not protocol.calls:
                    transport.stopReading()
            self.assertFalse(self.poller.has_unread())

    def test_the_next_turn_of_a_vehicle_begins_once_the_others_were_read(self) -> None:
        turns = Turns(self.reactor, self.poller.has_unread)
        turn = turns.of("5YJ3E1EA7KF000001")
        with mock.patch.object(poller_module, "EVENTS_PER_LOOK", 4):
            self.many(10)
            turn.end()
            over = []
            for _ in range(4):
                self.reactor.turn()
                self.reactor.due()
                over.append(turn.is_over)
        self.assertEqual(over, [True, True, False, False])


class IntervalTests(PollerCase):
    def setUp(self) -> None:
        super().setUp()
        self.poller.interval_s = 0.010
        self.received = Received()
        self.transport, self.peer = self.connect(self.received)

    def send(self, data: bytes) -> None:
        self.peer.send(data)
        self.ready(self.transport)
        self.reactor.turn()

    def after(self, seconds: float) -> list[object]:
        """Everything read until so much later."""
        self.reactor.advance(seconds)
        self.reactor.turn()
        return self.received.calls

    def test_the_first_bytes_are_read_at_once_and_the_next_ones_after_the_interval(self) -> None:
        self.send(b"first")
        self.assertEqual(self.received.calls, [b"first"])
        self.send(b"second")
        self.assertEqual(self.after(0.009), [b"first"])
        self.assertEqual(self.after(0.002), [b"first", b"second"])

    def test_bytes_after_a_longer_pause_are_read_at_once(self) -> None:
        self.send(b"first")
        self.after(0.011)
        self.send(b"second")
        self.assertEqual(self.received.calls, [b"first", b"second"])

    def test_a_pause_leaves_the_poller_with_the_reactor(self) -> None:
        """To add it again would take the kernel time for each of its sockets."""
        with mock.patch.object(self.reactor, "addReader") as add:
            for _ in range(3):
                self.send(b"x")
                self.assertEqual([*self.reactor.readers], [self.poller])
                self.after(0.011)
        add.assert_not_called()

    def test_the_interval_includes_the_time_that_a_look_takes(self) -> None:
        self.received._during = lambda: self.reactor.advance(0.004)
        self.send(b"first")
        self.send(b"second")
        self.assertEqual(self.after(0.005), [b"first"])
        self.assertEqual(self.after(0.002), [b"first", b"second"])

    def test_a_look_that_takes_longer_than_the_interval_is_followed_by_the_next_one(self) -> None:
        self.received._during = lambda: self.reactor.advance(0.011)
        self.send(b"first")
        self.send(b"second")
        self.assertEqual(self.received.calls, [b"first", b"second"])

    def test_a_look_that_meets_its_bound_is_followed_by_the_next_one(self) -> None:
        with mock.patch.object(poller_module, "EVENTS_PER_LOOK", 4):
            _, protocols = self.many(10)
            read = []
            for _ in range(3):
                self.reactor.turn()
                read.append(sum(len(each.calls) for each in protocols))
            self.assertEqual(read, [4, 8, 10])
            self.assertEqual(len(self.reactor.getDelayedCalls()), 1)

    def test_an_interval_that_is_taken_back(self) -> None:
        self.send(b"first")
        self.poller.interval_s = 0.0
        self.assertEqual(self.after(0.011), [b"first"])
        for data in (b"second", b"third"):
            self.send(data)
        self.assertEqual(self.received.calls, [b"first", b"second", b"third"])

    def test_no_timer_is_left(self) -> None:
        self.send(b"first")
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)
        self.transport.connectionLost(Failure(CONNECTION_LOST))
        self.poller.close()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual([*self.reactor.readers], [])

    def test_a_poller_that_is_closed_within_a_look(self) -> None:
        def close() -> None:
            self.transport.stopReading()
            self.poller.close()

        self.received._during = close
        self.send(b"first")
        self.assertEqual((self.reactor.getDelayedCalls(), [*self.reactor.readers]), ([], []))


REACTORS: dict[str, Callable[[], Any]] = {  # whose insides are closed
    "epoll": EPollReactor,
    "poll": PollReactor,
    "select": SelectReactor,
    "asyncio": lambda: AsyncioSelectorReactor(asyncio.new_event_loop()),
}


class TwistedReactorCase(PollerCase):
    """Below a reactor of Twisted's.

    :cvar kind: of the reactor.
    """

    kind = "epoll"

    def make_reactor(self) -> object:
        reactor = REACTORS[self.kind]()
        self.addCleanup(self.end, reactor)
        return reactor

    def end(self, reactor: Any) -> None:
        for reader in reactor.removeAll():
            reader.connectionLost(Failure(CONNECTION_LOST))
        reactor.waker.connectionLost(None)
        if self.kind == "asyncio":
            reactor._asyncioEventloop.close()
        if self.kind == "epoll":
            reactor._poller.close()


class EndOfSocketTests(TwistedReactorCase):
    """The end of a socket is the same whether the poller reads it or the reactor."""

    def calls(self, protocol: Received, end: Callable[[socket.socket], object]) -> tuple[list[object], list[object]]:
        """Calls of a protocol and logged errors, after its peer's last bytes."""
        transport, peer = self.connect(protocol)
        other = Received()
        other_transport, other_peer = self.connect(other)
        end(peer)
        other_peer.send(b"other")
        self.ready(transport, other_transport)
        for _ in range(2):
            self.reactor.iterate(0)
        self.assertEqual(other.calls, [b"other"])
        return protocol.calls, [(error.type, str(error.value)) for error in self.flushLoggedErrors()]

    def reset(self, peer: socket.socket) -> None:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()

    def send(self, peer: socket.socket) -> None:
        peer.send(b"x")

    def ends(self) -> list[tuple[list[object], list[object]]]:
        return [
            self.calls(Received(), socket.socket.close),
            self.calls(Received(), self.reset),
            self.calls(HalfClosed(), socket.socket.close),
            self.calls(HalfClosed(), self.reset),
            self.calls(Received(lambda: fail(ValueError, "of the protocol")), self.send),
            self.calls(FailsAtTheEnd(), socket.socket.close),
        ]

    def test_as_the_reactor_ends_it(self) -> None:
        by_poller = self.ends()
        self.poller.close()
        by_reactor = self.ends()
        self.assertEqual(by_poller, by_reactor)
        self.assertEqual([len(calls) for calls, _ in by_poller], [1, 1, 1, 1, 2, 1])


class EndOfSocketUnderPollTests(EndOfSocketTests):
    kind = "poll"


class EndOfSocketUnderSelectTests(EndOfSocketTests):
    kind = "select"


class EndOfSocketUnderAsyncioTests(EndOfSocketTests):
    kind = "asyncio"


class LifeTests(TwistedReactorCase):
    """From ``open`` to ``close``, again and again, in a reactor that goes on."""

    def test_bytes_are_read(self) -> None:
        received = Received()
        transport, peer = self.connect(received)
        for data in (b"one", b"two"):
            peer.send(data)
            self.ready(transport)
            self.reactor.iterate(0)
        self.assertEqual(received.calls, [b"one", b"two"])

    def test_bytes_are_read_at_intervals(self) -> None:
        self.poller.interval_s = 0.001
        received = Received()
        transport, peer = self.connect(received)
        for number in range(1, 4):
            peer.send(b"x")
            self.ready(transport)
            while len(received.calls) < number:
                self.reactor.iterate(0)

    def test_closing_leaves_the_reactor_as_it_was(self) -> None:
        self.poller.close()
        readers, files = self.reactor.getReaders(), len(os.listdir("/proc/self/fd"))
        for interval_s in (0.0, 0.0, 1.0, 1.0):
            self.poller.open()
            self.assertTrue(self.poller.is_open)
            self.poller.interval_s = interval_s
            received = Received()
            transport, peer = self.connect(received)
            peer.send(b"x")
            self.ready(transport)
            self.reactor.iterate(0)
            self.assertEqual(received.calls, [b"x"])
            transport.connectionLost(Failure(CONNECTION_DONE))
            peer.close()
            for _ in range(2):
                self.poller.close()
            self.assertEqual((self.poller.is_open, self.poller.fileno()), (False, -1))
            self.assertEqual(self.reactor.getReaders(), readers)
            self.assertLessEqual(len(os.listdir("/proc/self/fd")), files)
            self.assertEqual([each for each in self.reactor.getDelayedCalls() if each.active()], [])

    def test_the_end_of_the_reactor_ends_the_sockets(self) -> None:
        """In a pause, too."""
        self.poller.interval_s = 1.0
        received = Received()
        transport, peer = self.connect(received)
        peer.send(b"x")
        self.ready(transport)
        self.reactor.iterate(0)
        for reader in self.reactor.removeAll():
            reader.connectionLost(Failure(CONNECTION_LOST))
        self.assertEqual(received.calls, [b"x", (ConnectionLost, str(ConnectionLost("Connection lost")))])
        self.assertEqual([each for each in self.reactor.getDelayedCalls() if each.active()], [])
        self.assertFalse(self.poller.is_open)

    def test_an_exit_within_a_read_ends_that_socket_alone(self) -> None:
        """Under asyncio, Twisted would leave the socket with bytes that were handled in part."""
        received, other = Received(lambda: fail(SystemExit, "3")), Received()
        pairs = [self.connect(received), self.connect(other)]
        for _, peer in pairs:
            peer.send(b"x")
        self.ready(*(transport for transport, _ in pairs))
        self.reactor.iterate(0)
        self.assertEqual(received.calls, [b"x", (SystemExit, "3")])
        self.assertEqual(other.calls, [b"x"])
        self.assertEqual(len(self.flushLoggedErrors(SystemExit)), 1)

    def test_an_interrupt_within_a_read_ends_that_socket_alone(self) -> None:
        received, other = Received(lambda: fail(KeyboardInterrupt)), Received()
        transport, peer = self.connect(received)
        other_transport, other_peer = self.connect(other)
        peer.send(b"x")
        self.ready(transport)
        self.interrupted()
        self.assertEqual(received.calls, [b"x", (KeyboardInterrupt, "")])
        other_peer.send(b"x")
        self.ready(other_transport)
        self.reactor.iterate(0)
        self.assertEqual(other.calls, [b"x"])

    def interrupted(self) -> None:
        """One turn of the reactor, which meets the interrupt."""
        self.reactor.iterate(0)
        self.assertEqual(len(self.flushLoggedErrors(KeyboardInterrupt)), 1)


class LifeUnderPollTests(LifeTests):
    kind = "poll"


class LifeUnderSelectTests(LifeTests):
    kind = "select"


class LifeUnderAsyncioTests(LifeTests):
    kind = "asyncio"

    def interrupted(self) -> None:
        self.assertRaises(KeyboardInterrupt, self.reactor.iterate, 0)


class UnwatchableReactor(HandTurnedReactor):
    """Watches sockets, and nothing else."""

    def addReader(self, reader: object) -> None:
        if not isinstance(reader, VehicleSocket):
            raise NotImplementedError
        super().addReader(reader)


class FallbackTests(PollerCase):
    """Where there can be no poller, the reactor reads the sockets itself."""

    def assertFallsBack(self, reactor: HandTurnedReactor) -> None:
        self.poller.close()
        files = len(os.listdir("/proc/self/fd"))
        self.reactor, self.poller = reactor, Poller(reactor)
        self.poller.open()
        self.assertFalse(self.poller.is_open)
        self.assertLessEqual(len(os.listdir("/proc/self/fd")), files)
        received = Received()
        transport, peer = self.connect(received)
        self.assertEqual([*reactor.readers], [transport])
        peer.send(b"x")
        self.ready(transport)
        reactor.turn()
        self.assertEqual(received.calls, [b"x"])
        transport.stopReading()
        self.assertEqual([*reactor.readers], [])
        self.assertFalse(self.poller.has_unread())
        self.poller.close()

    def test_a_reactor_that_watches_sockets_only(self) -> None:
        self.assertFallsBack(UnwatchableReactor())

    def test_a_system_without_epoll(self) -> None:
        with mock.patch.object(poller_module, "select", object()):
            self.assertFallsBack(HandTurnedReactor())

    def test_no_descriptor_is_left(self) -> None:
        with mock.patch.object(select, "epoll", side_effect=OSError(errno.EMFILE, "too many")):
            self.assertFallsBack(HandTurnedReactor())

    def test_a_reactor_that_watches_no_descriptors(self) -> None:
        poller = Poller(Clock())
        poller.open()
        self.assertFalse(poller.is_open)
        poller.close()

    def test_a_socket_that_is_paused_while_the_poller_closes(self) -> None:
        transport, _ = self.connect(Received())
        transport.stopReading()
        self.poller.close()
        transport.startReading()
        self.assertEqual([*self.reactor.readers], [transport])


class FactoryTests(SynchronousTestCase):
    """The factory of connections opens and closes the poller."""

    def start(self, reactor: Clock, interval_ms: int) -> VehicleFactory:
        self.log = ReadableLog()
        gateway: Any = None  # no connection is upgraded
        factory = VehicleFactory(gateway, DEFAULT_ISSUERS, self.limits(interval_ms), reactor, ReadableMetrics(), self.log)
        factory.doStart()
        self.addCleanup(factory.abort_all)
        return factory

    def limits(self, interval_ms: int) -> IngressLimits:
        return IngressLimits(10, 30, 25, 20, 10, 1 << 20, 1 << 20, 1 << 20, 0, read_interval_ms=interval_ms)

    def test_open_from_the_first_port_to_the_last_connection(self) -> None:
        reactor = HandTurnedReactor()
        factory = self.start(reactor, 0)
        self.assertEqual([*reactor.readers], [factory.poller])
        connection: Any = mock.Mock()
        factory.registry.made(connection, "127.0.0.1")
        factory.doStop()
        self.assertEqual([*reactor.readers], [factory.poller])
        factory.registry.lost(connection)
        self.assertEqual([*reactor.readers], [])
        self.assertFalse(factory.poller.is_open)

    def test_the_interval_is_the_configured_one(self) -> None:
        factory = self.start(HandTurnedReactor(), 2)
        self.assertEqual(factory.poller.interval_s, 0.002)
        factory.use(DEFAULT_ISSUERS, self.limits(5))
        self.assertEqual(factory.poller.interval_s, 0.005)
        factory.doStop()
        self.assertEqual(self.log.fields_of("configuration_warning"), [])

    def test_an_interval_without_effect_is_reported(self) -> None:
        factory = self.start(Clock(), 2)
        (warning,) = self.log.fields_of("configuration_warning")
        self.assertEqual(warning["key"], "limits.read_interval_ms")
        self.assertIn("no effect", str(warning["warning"]))
        factory.use(DEFAULT_ISSUERS, self.limits(0))
        self.assertEqual(len(self.log.fields_of("configuration_warning")), 1)
        factory.use(DEFAULT_ISSUERS, self.limits(3))
        self.assertEqual(len(self.log.fields_of("configuration_warning")), 2)
