"""The pipe that a record takes. Used on the reactor's thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol
from zlib import crc32

from fleetgw.adapters.sinks.redis.connectors import SentinelConnector, ServerConnector
from fleetgw.domain.ports import Ready

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fleetgw.adapters.sinks.redis.connectors import Connector
    from fleetgw.adapters.sinks.redis.credentials import Access
    from fleetgw.adapters.sinks.redis.pipe import Pipe
    from fleetgw.adapters.sinks.redis.settings import RedisSettings
    from fleetgw.domain.errors import Retryable
    from fleetgw.domain.ports import Readiness
    from fleetgw.domain.records import Record

    OpenPipe = Callable[[Connector], Pipe]


class Routes(Protocol):
    """Chooses a pipe for each record: always the same for a vehicle, as long as the servers stay the same."""

    @property
    def pipes(self) -> Sequence[Pipe]:
        """The pipes in use."""

    @property
    def found(self) -> bool:
        """Whether the servers are known, or an attempt to find them has failed."""

    def start(self) -> None:
        """Open pipes, or find the servers first."""

    def pipe(self, record: Record) -> Pipe | Retryable:
        """The pipe for a record; an error where there is none."""

    def readiness(self) -> Readiness:
        """Whether the servers are known; the pipes have a readiness of their own."""


class DirectRoutes:
    """Spreads vehicles over the pipes to one server.

    :param cluster_found: called on a pipe's thread when the servers turn out to be nodes of a cluster.
    """

    found = True

    def __init__(
        self, settings: RedisSettings, access: Access, open_pipe: OpenPipe, cluster_found: Callable[[], None]
    ) -> None:
        self.pipes: list[Pipe] = []
        self._settings = settings
        self._access = access
        self._open_pipe = open_pipe
        self._cluster_found = cluster_found

    def start(self) -> None:
        """Open all pipes."""
        access, master = self._access, self._settings.sentinel_master
        for _ in range(self._settings.connections):
            connector = ServerConnector(access, self._cluster_found) if master is None else SentinelConnector(access, master)
            self.pipes.append(self._open_pipe(connector))

    def pipe(self, record: Record) -> Pipe | Retryable:
        """See ``Routes``."""
        return pipe_of_vehicle(record, self.pipes)

    def readiness(self) -> Readiness:
        """Always ready: only the pipes may not be."""
        return Ready()


def pipe_of_vehicle(record: Record, pipes: Sequence[Pipe]) -> Pipe:
    """One of several pipes to a server, by VIN."""
    return pipes[crc32(record.vehicle.vin.encode()) % len(pipes)] if len(pipes) > 1 else pipes[0]
