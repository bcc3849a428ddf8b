"""The base of the tests of the poller: sockets over loopback below a reactor that the test turns."""

from __future__ import annotations

import os
import select
import socket
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from fleetgw.adapters.ingress.poller import Poller
from fleetgw.adapters.ingress.vehicle_socket import VehicleSocket
from tests.support.deadline import DEADLINE_S
from tests.support.plain_read import plain_read

if TYPE_CHECKING:
    from collections.abc import Callable


@implementer(IReactorFDSet)
class HandTurnedReactor(Clock):
    """A clock that watches descriptors; ``turn`` reads each one that is ready, in the order added."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: dict[Any, None] = {}
        self.writers: dict[Any, None] = {}

    def addReader(self, reader: object) -> None:
        """Watch a reader."""
        self.readers[reader] = None

    def removeReader(self, reader: object) -> None:
        """Watch it no longer."""
        self.readers.pop(reader, None)

    def addWriter(self, writer: object) -> None:
        """Watch a writer."""
        self.writers[writer] = None

    def removeWriter(self, writer: object) -> None:
        """Watch it no longer."""
        self.writers.pop(writer, None)

    def due(self) -> None:
        """Call the timers that are due; unlike with ``advance``, those that they start wait for the next time."""
        for call in self.getDelayedCalls():
            if call.getTime() <= self.seconds():
                self.calls.remove(call)  # type: ignore[attr-defined]  # private
                call.func()  # type: ignore[attr-defined]  # of DelayedCall, which IDelayedCall does not have

    def turn(self) -> None:
        """Read each reader that is ready, once."""
        for reader in select.select([*self.readers], [], [], 0)[0]:
            reader.doRead()


class Received(Protocol):
    """Stores the calls of the transport; ``during`` is called with each read."""

    def __init__(self, during: Callable[[], object] | None = None) -> None:
        self.calls: list[object] = []
        self._during = during

    def read(self, source: socket.socket) -> Exception | None:
        """Read once; returns the reason where the socket has ended."""
        data, reason = plain_read(source)
        if data:
            self.calls.append(data)
            if self._during is not None:
                self._during()
        return reason

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Store the reason."""
        self.calls.append((reason.type, str(reason.value)))


class FailsAtTheEnd(Received):
    """Its last call fails."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Store the reason, and fail."""
        super().connectionLost(reason)
        raise ValueError("at the end")


def fail(kind: type[BaseException], text: str = "") -> None:
    """Raise."""
    raise kind(text)


class PollerCase(SynchronousTestCase):
    """An open poller, and connections over loopback."""

    def setUp(self) -> None:
        """Open the poller, and listen."""
        self.reactor: Any = self.make_reactor()
        self.poller = Poller(self.reactor)
        self.poller.open()
        self.addCleanup(self.poller.close)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.listener.close)

    def make_reactor(self) -> object:
        """The reactor below the poller."""
        return HandTurnedReactor()

    def accept(self) -> tuple[socket.socket, socket.socket]:
        """Both ends of a new connection, ours first."""
        peer = socket.create_connection(self.listener.getsockname())
        self.addCleanup(peer.close)
        ours, _ = self.listener.accept()
        ours.settimeout(0)
        return ours, peer

    def carry(self, ours: socket.socket, protocol: Protocol) -> VehicleSocket:
        """Put a socket below a protocol."""
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
        renumbered.settimeout(0)
        return renumbered

    def ready(self, *transports: VehicleSocket) -> None:
        """Wait until there is something to read in each socket."""
        for transport in transports:
            self.assertTrue(select.select([transport], [], [], DEADLINE_S)[0])

    def many(self, count: int) -> tuple[list[VehicleSocket], list[Received]]:
        """Sockets that have a byte to read."""
        protocols = [Received() for _ in range(count)]
        pairs = [self.connect(protocol) for protocol in protocols]
        for _, peer in pairs:
            peer.send(b"x")
        transports = [transport for transport, _ in pairs]
        self.ready(*transports)
        return transports, protocols
