"""Which connection a record takes. Everything here happens on the reactor's thread."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol
from zlib import crc32

from fleetgw.adapters.sinks.redis.connectors import Node, OneOf, SentinelMaster
from fleetgw.domain.errors import NotConnected, Retryable
from fleetgw.domain.ports import NotReady, Ready

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.interfaces import IDelayedCall

    from fleetgw.adapters.sinks.redis.cluster import ClusterMap, ClusterView
    from fleetgw.adapters.sinks.redis.connectors import FindServer
    from fleetgw.adapters.sinks.redis.credentials import Access
    from fleetgw.adapters.sinks.redis.names import Names
    from fleetgw.adapters.sinks.redis.pipe import Pipe
    from fleetgw.adapters.sinks.redis.settings import Address, RedisSettings
    from fleetgw.adapters.sinks.support.context import ISinkReactor
    from fleetgw.adapters.sinks.support.serial_worker import Worker
    from fleetgw.domain.ports import Readiness
    from fleetgw.domain.records import Record

    OpenPipe = Callable[[FindServer], Pipe]

MAP_INTERVAL_S = 15.0
"""How often a cluster is looked at when nothing hints at a change."""

MAP_RETRY_S = 0.5


class Routes(Protocol):
    """From a record to its connection: always the same for a vehicle, as long as the servers stay who they are."""

    @property
    def pipes(self) -> Sequence[Pipe]:
        """The connections in use."""

    @property
    def found(self) -> bool:
        """Whether it is known by now where records go, or that it cannot be known."""

    def start(self) -> None:
        """Open the connections that are known to be needed."""

    def pipe(self, record: Record) -> Pipe | Retryable:
        """Where a record goes, or why it cannot go anywhere."""

    def readiness(self) -> Readiness:
        """Whether it is known where records go; the connections have their own."""


class DirectRoutes:
    """One server, whichever is in charge; vehicles are spread over the connections to it.

    :param clustered: called, on a thread, when the servers turn out to be nodes of a cluster.
    """

    found = True

    def __init__(self, settings: RedisSettings, access: Access, open_pipe: OpenPipe, clustered: Callable[[], None]) -> None:
        self.pipes: list[Pipe] = []
        self._settings = settings
        self._access = access
        self._open_pipe = open_pipe
        self._clustered = clustered

    def start(self) -> None:
        """Open all connections."""
        master = self._settings.sentinel_master
        for _ in range(self._settings.connections):
            find_server = OneOf(self._access, self._clustered) if master is None else SentinelMaster(self._access, master)
            self.pipes.append(self._open_pipe(find_server))

    def pipe(self, record: Record) -> Pipe | Retryable:
        """By the VIN."""
        return self.pipes[crc32(record.vehicle.vin.encode()) % len(self.pipes)] if len(self.pipes) > 1 else self.pipes[0]

    def readiness(self) -> Readiness:
        """The connections know better."""
        return Ready()


class ClusterRoutes:
    """A connection, or several, to each master of a cluster; the slot of the vehicle's names decides.

    :param view: used on the worker's thread only.
    :param looked: called after every look at the cluster.
    """

    def __init__(
        self,
        settings: RedisSettings,
        access: Access,
        names: Names,
        open_pipe: OpenPipe,
        view: ClusterView,
        worker: Worker,
        reactor: ISinkReactor,
        looked: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._access = access
        self._names = names
        self._open_pipe = open_pipe
        self._view = view
        self._worker = worker
        self._reactor = reactor
        self._tell_looked = looked
        self._map: ClusterMap | None = None
        self.found = False
        self._by_master: dict[Address, list[Pipe]] = {}
        self._unknown = "no node of the cluster has answered yet"
        self._looking = False
        self._asking = 0
        self._next_look: IDelayedCall | None = None
        self._stopped = False

    @property
    def pipes(self) -> Sequence[Pipe]:
        """To all masters."""
        return [pipe for pipes in self._by_master.values() for pipe in pipes]

    def start(self) -> None:
        """Look who is there."""
        self._look()

    def pipe(self, record: Record) -> Pipe | Retryable:
        """By the slot of the vehicle's names."""
        if self._map is None:
            return NotConnected(self._unknown)
        master = self._map.master(self._names.slot_key(record))
        if master is None:
            self._look()
            return Retryable("no node of the cluster serves the vehicle's slot")
        pipes = self._by_master[master]
        return pipes[crc32(record.vehicle.vin.encode()) % len(pipes)] if len(pipes) > 1 else pipes[0]

    def readiness(self) -> Readiness:
        """Whether the cluster is known, and whole."""
        if self._map is None:
            return NotReady(self._unknown)
        if missing := self._map.masters.count(None):
            return NotReady(f"no node of the cluster serves {missing} of its slots")
        return Ready()

    def doubt(self) -> None:
        """A node did not answer, or as if another one were to be asked: look again."""
        self._look()

    def ask_listened(self, channels: Sequence[bytes], then: Callable[[frozenset[bytes]], None]) -> None:
        """Find out which of these channels somebody listens to: the reply to PUBLISH counts one node's clients only."""
        self._asking += 1
        self._worker.do(partial(self._ask_on_worker, channels, then))

    def stop(self, closed: Callable[[], None]) -> None:
        """Look no more, and close the connections that it took; then call ``closed``.

        A look under way is not waited for: it may hang in a name server. Its connections are closed once it has ended.
        """
        self._stopped = True
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None
        busy = self._looking or self._asking
        self._worker.do(partial(self._close_on_worker, _nothing if busy else closed))
        self._worker.quit()
        if busy:
            closed()

    def _look(self) -> None:
        if self._looking or self._stopped:
            return
        self._looking = True
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None
        self._worker.do(self._look_on_worker)

    def _look_on_worker(self) -> None:
        try:
            found: ClusterMap | str = self._view.read_map()
        except Exception as error:  # of any kind: the next look tries again
            found = str(error)
        self._reactor.callFromThread(self._looked, found)

    def _ask_on_worker(self, channels: Sequence[bytes], then: Callable[[frozenset[bytes]], None]) -> None:
        try:
            listened = self._view.listened(channels)
        except Exception:  # of any kind: then nobody is known to listen
            listened = frozenset()
        self._reactor.callFromThread(self._asked, listened, then)

    def _asked(self, listened: frozenset[bytes], then: Callable[[frozenset[bytes]], None]) -> None:
        self._asking -= 1
        then(listened)

    def _close_on_worker(self, closed: Callable[[], None]) -> None:
        self._view.close()
        self._reactor.callFromThread(closed)

    def _looked(self, found: ClusterMap | str) -> None:
        self._looking = False
        self.found = True
        if self._stopped:
            return
        if isinstance(found, str):
            self._unknown = found
        else:
            self._take_map(found)
        self._next_look = self._reactor.callLater(MAP_RETRY_S if isinstance(found, str) else MAP_INTERVAL_S, self._again)
        self._tell_looked()

    def _again(self) -> None:
        self._next_look = None
        self._look()

    def _take_map(self, found: ClusterMap) -> None:
        self._map = found
        masters = {master for master in found.masters if master is not None}
        for master in self._by_master.keys() - masters:
            for pipe in self._by_master.pop(master):
                pipe.quit()
        for master in masters - self._by_master.keys():
            find_server = Node(master, self._access)
            self._by_master[master] = [self._open_pipe(find_server) for _ in range(self._settings.connections)]


def _nothing() -> None:
    """Called in place of ``closed`` when that has been called already."""
