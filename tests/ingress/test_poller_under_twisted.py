"""The poller below each of Twisted's reactors."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from typing import TYPE_CHECKING, Any

from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.pollreactor import PollReactor
from twisted.internet.selectreactor import SelectReactor
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.ingress.poller_case import FailsAtTheEnd, PollerCase, Received, fail

if TYPE_CHECKING:
    from collections.abc import Callable


@implementer(IHalfCloseableProtocol)
class HalfClosed(Received):
    """Remains after the peer has ended its side."""

    def readConnectionLost(self) -> None:
        self.calls.append("end of the peer's side")

    def writeConnectionLost(self) -> None:
        pass


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
