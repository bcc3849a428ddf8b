"""All pipes of the sink, with their readiness. Used on the reactor's thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from twisted.internet.defer import Deferred

from fleetgw.domain.ports import NotReady

if TYPE_CHECKING:
    from fleetgw.adapters.sinks.redis.connectors import Connector
    from fleetgw.adapters.sinks.redis.pipe import Pipe
    from fleetgw.domain.ports import Readiness

_CLOSED = NotReady("the connection is closed")


class MakePipe(Protocol):
    """Makes a pipe, not started yet."""

    def __call__(self, connector: Connector, *, alone: bool) -> Pipe:
        """Make a pipe.

        :param alone: for quarantined records.
        """


class Connections:
    """Opens and closes pipes; quarantined records for a server have a pipe of their own, opened when there are any."""

    def __init__(self, make: MakePipe) -> None:
        self._make = make
        self._readiness: dict[Pipe, Readiness] = {}
        self._connectors: dict[Pipe, Connector] = {}
        self._for_quarantined: dict[Connector, Pipe] = {}
        self._all_closed: Deferred[None] | None = None

    def open(self, connector: Connector) -> Pipe:
        """Open a pipe."""
        pipe = self._start(connector, alone=False)
        self._connectors[pipe] = connector
        return pipe

    def for_quarantined(self, pipe: Pipe) -> Pipe:
        """The pipe for quarantined records to the server of ``pipe``."""
        connector = self._connectors[pipe]
        if connector not in self._for_quarantined:
            self._for_quarantined[connector] = self._start(connector, alone=True)
        return self._for_quarantined[connector]

    def readiness(self, pipe: Pipe) -> Readiness:
        """The readiness of a pipe, as last seen."""
        return self._readiness.get(pipe, _CLOSED)

    def changed(self, pipe: Pipe, readiness: Readiness) -> None:
        """Note the readiness of a pipe."""
        if pipe in self._readiness:
            self._readiness[pipe] = readiness

    def closed(self, pipe: Pipe) -> None:
        """Note that a pipe has ended."""
        del self._readiness[pipe]
        connector = self._connectors.pop(pipe, None)
        if self._all_closed is None:
            if connector in self._for_quarantined and connector not in self._connectors.values():
                self._for_quarantined.pop(connector).quit()  # the node has left the cluster
        elif not self._readiness:
            self._all_closed.callback(None)

    def close(self) -> Deferred[None]:
        """Close all pipes; fires once all have ended."""
        self._all_closed = Deferred()
        for pipe in self._readiness:
            pipe.quit()
        if not self._readiness:
            self._all_closed.callback(None)
        return self._all_closed

    def _start(self, connector: Connector, *, alone: bool) -> Pipe:
        pipe = self._make(connector, alone=alone)
        self._readiness[pipe] = NotReady(f"{connector}: has not answered yet")
        pipe.start()
        return pipe
