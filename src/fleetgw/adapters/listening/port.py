"""A port that accepts connections at a bounded rate and reports pauses; IPv4 peers of an IPv6 socket have IPv4 addresses."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.tcp import Port, Server
from twisted.logger import Logger
from twisted.python.failure import Failure

from fleetgw.adapters.listening.refusals import Pause
from fleetgw.adapters.listening.sockets import bind_listener, plain_address

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IDelayedCall, IProtocolFactory, IReactorTCP, IReactorTime

    class IListeningReactor(IReactorTCP, IReactorTime):
        """The reactor interfaces that a port uses."""

    from fleetgw.adapters.listening.refusals import Refusals

BACKLOG = 4096
"""Maximum number of connections in the kernel's accept queue; net.core.somaxconn bounds it as well."""

ACCEPTS_PER_TURN = 32
"""Maximum number of connections accepted in one turn of the reactor. Further ones wait in the kernel's queue: handshakes
under way are finished first, and few are half-open at a time."""

PAUSE_S = 0.05
"""Pause in accepting when there is no room: connections wait in the kernel's queue."""

SPARE_DESCRIPTORS = 8

_NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_QUEUE_EMPTY = frozenset({errno.EAGAIN, errno.EWOULDBLOCK})


class AcceptedSocket(Server):
    """An accepted connection; an IPv4 peer of an IPv6 socket has an IPv4 address."""

    def getHost(self) -> IPv4Address | IPv6Address:
        """Address that the peer has connected to."""
        return _address(plain_address(self.socket.getsockname()))


def _address(address: tuple[Any, ...]) -> IPv4Address | IPv6Address:  # as sockets give it
    return (IPv4Address if len(address) == 2 else IPv6Address)("TCP", *address)


class SpareDescriptors:
    """Reserved file descriptors, for listeners that must answer when all others are in use."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._held: list[int] = []

    def reserve(self) -> None:
        """Open up to ``count`` descriptors, as many as the process can."""
        while len(self._held) < self._count:
            try:
                self._held.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
            except OSError:
                return

    def release(self) -> bool:
        """Close all; return whether there were any."""
        held, self._held = self._held, []
        for descriptor in held:
            os.close(descriptor)
        return bool(held)


class BoundedPort(Port):
    """Twisted's port with an accept loop of its own.

    :param listener: the bound socket.
    :param transport: makes a connection's transport, from the arguments of Twisted's ``Server``.
    :param has_room: returns whether a further connection may be accepted; otherwise connections wait in the kernel's queue.
        None for a listener that must always answer: its factory refuses connections, and descriptors are reserved for it.
    """

    def __init__(
        self,
        listener: socket.socket,
        factory: IProtocolFactory,
        reactor: IListeningReactor,
        refusals: Refusals,
        transport: Callable[..., Server] = AcceptedSocket,
        has_room: Callable[[], bool] | None = None,
    ) -> None:
        address = listener.getsockname()
        super().__init__(address[1], factory, BACKLOG, address[0], reactor)
        self._preexistingSocket = listener
        self._refusals = refusals
        self.transport = transport  # type: ignore[assignment]  # called only; typed as the class
        self._has_room = has_room
        self._spare = SpareDescriptors(SPARE_DESCRIPTORS if has_room is None else 0)
        self._spare.reserve()
        self._clock = reactor
        self._protocols = factory
        self._pause: IDelayedCall | None = None
        self._failures = Logger()

    def doRead(self) -> None:
        """Accept the connections that wait, up to ``ACCEPTS_PER_TURN``."""
        for _ in range(ACCEPTS_PER_TURN):
            if self._has_room is not None and not self._has_room():
                self._wait(Pause.HALF_OPEN)
                return
            try:
                accepted, peer = self._accept()
            except OSError as error:
                if error.errno in _QUEUE_EMPTY:
                    return
                if error.errno in _NO_DESCRIPTORS:
                    self._wait(Pause.NO_DESCRIPTORS)
                    return
                continue  # an error of that one connection, which Linux reports here: accept(2)
            self._take(accepted, plain_address(peer))

    def _accept(self) -> tuple[socket.socket, tuple[Any, ...]]:
        try:
            return self.socket.accept()
        except OSError as error:
            if error.errno not in _NO_DESCRIPTORS or not self._spare.release():
                raise
            try:
                return self.socket.accept()
            finally:
                self._spare.reserve()

    def _take(self, accepted: socket.socket, peer: tuple[Any, ...]) -> None:
        try:
            protocol = self._protocols.buildProtocol(_address(peer))
            if protocol is None:
                accepted.close()
                return
            self.sessionno += 1
            transport = self.transport(accepted, protocol, peer, self, self.sessionno, self.reactor)
            protocol.makeConnection(transport)
        except Exception:  # the failure of one connection must not stop the others
            accepted.close()
            self._failures.failure("a connection could not be made")

    def _wait(self, pause: Pause) -> None:
        self._refusals.paused(pause)
        self.stopReading()  # type: ignore[no-untyped-call]  # untyped in Twisted
        if self._pause is None:
            self._pause = self._clock.callLater(PAUSE_S, self._pause_ended)

    def _pause_ended(self) -> None:
        self._pause = None
        if self.connected and not self.disconnecting:
            self.startReading()  # type: ignore[no-untyped-call]  # untyped in Twisted

    def loseConnection(self, connDone: Failure = Failure(CONNECTION_DONE)) -> Deferred[None] | None:  # noqa: B008  Twisted's signature
        """Stop listening."""
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        self._spare.release()
        return cast("Deferred[None] | None", super().loseConnection(connDone))  # type: ignore[no-untyped-call]  # untyped in Twisted

    stopListening = loseConnection


def listen(
    reactor: IListeningReactor,
    host: str,
    number: int,
    factory: IProtocolFactory,
    refusals: Refusals,
    transport: Callable[..., Server] = AcceptedSocket,
    has_room: Callable[[], bool] | None = None,
    inherited: socket.socket | None = None,
) -> Port:
    """Listen with ``bind_listener`` and ``BoundedPort``.

    :param inherited: a socket that listens already, used in place of ``host`` and ``number``.
    :raises CannotListenError: with the error of the socket.
    """
    if not IReactorFDSet.providedBy(reactor):  # a reactor with ports of its own, such as the one in memory
        made = reactor.listenTCP(number, factory, backlog=BACKLOG, interface=host)  # type: ignore[arg-type]  # Twisted's type wants its Factory
        return cast("Port", made)
    try:
        listener = bind_listener(host, number, BACKLOG) if inherited is None else inherited
    except OSError as error:
        raise CannotListenError(host, number, error) from error
    port = BoundedPort(listener, factory, reactor, refusals, transport, has_room)
    port.startListening()
    return port
