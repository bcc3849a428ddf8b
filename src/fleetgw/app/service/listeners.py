"""A port that the gateway listens on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.error import CannotListenError

from fleetgw.adapters.listening.port import AcceptedSocket, listen
from fleetgw.app.service.listening_errors import explain
from fleetgw.domain.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from twisted.internet.interfaces import IProtocolFactory
    from twisted.internet.tcp import Port, Server

    from fleetgw.adapters.listening.port import IListeningReactor
    from fleetgw.adapters.listening.refusals import Refusals
    from fleetgw.domain.ports import ILog


@define(eq=False)
class Listener:
    """One port: bound while the process has the right to, accepting connections from ``start`` to ``stop``.

    :ivar key: of the port in the configuration.
    :ivar host: as configured.
    :ivar wanted_number: the port as configured; 0 for any that is free.
    :ivar factory: as in ``listen``, and so are ``refusals``, ``reactor``, ``transport`` and ``has_room``.
    :ivar started_event: name of the event that ``start`` logs with the port; empty: none.
    """

    key: str
    host: str
    wanted_number: int
    factory: IProtocolFactory
    refusals: Refusals
    reactor: IListeningReactor
    log: ILog
    transport: Callable[..., Server] = AcceptedSocket
    has_room: Callable[[], bool] | None = None
    started_event: str = ""
    _port: Port | None = field(default=None, init=False)

    @property
    def number(self) -> int:
        """The port as bound; 0 while it is not."""
        return int(self._port.getHost().port) if self._port is not None else 0

    def bind(self, inherited: socket.socket | None = None) -> None:
        """Bind the port, or use a socket that the process has inherited. Connections wait in the kernel until ``start``.

        :param inherited: a listening socket; its address counts in place of ``host`` and ``wanted_number``.
        :raises ConfigurationError: it cannot be bound; names the key and the remedy.
        """
        host, number = self.host, self.wanted_number
        try:
            port = listen(self.reactor, host, number, self.factory, self.refusals, self.transport, self.has_room, inherited)
        except CannotListenError as error:
            reason = explain(number, error.socketError)
            problem = Problem(self.key, f"cannot listen on {host or '*'}:{number}, which {reason.what}", reason.fix)
            raise ConfigurationError([problem]) from error
        port.stopReading()
        self._port = port

    def start(self) -> Deferred[None]:
        """Accept connections. Does nothing when the port is not bound."""
        if self._port is not None:
            self._port.startReading()
            if self.started_event:
                self.log.info(self.started_event, port=self.number)
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """Close the port; accepted connections stay open. Does nothing when the port is not bound."""
        port, self._port = self._port, None
        return succeed(None) if port is None else maybeDeferred(port.stopListening)
