"""Sockets in an epoll of their own: over loopback sockets, below a reactor that a test turns by hand."""

from __future__ import annotations

import errno
import gc
import os
import select
import socket
import weakref
from typing import TYPE_CHECKING
from unittest import mock

from twisted.internet.error import ConnectionAborted
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from fleetgw.adapters.ingress import poller as poller_module
from fleetgw.adapters.ingress.poller import EVENTS_PER_LOOK, Poller
from fleetgw.adapters.ingress.tls_records import READ_BYTES
from fleetgw.adapters.ingress.turns import Turns
from fleetgw.adapters.ingress.vehicle_socket import VehicleSocket
from tests.ingress.poller_case import FailsAtTheEnd, HandTurnedReactor, PollerCase, Received, fail

if TYPE_CHECKING:
    from collections.abc import Callable


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
