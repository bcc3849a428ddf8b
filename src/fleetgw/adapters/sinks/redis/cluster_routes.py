"""The pipes to the nodes of a cluster. Used on the reactor's thread."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from fleetgw.adapters.sinks.redis.connectors import NodeConnector
from fleetgw.adapters.sinks.redis.routes import pipe_of_vehicle
from fleetgw.domain.errors import NotConnected, Retryable
from fleetgw.domain.ports import NotReady, Ready

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.interfaces import IDelayedCall

    from fleetgw.adapters.process.serial_worker import Worker
    from fleetgw.adapters.sinks.redis.cluster import ClusterMap, ClusterView
    from fleetgw.adapters.sinks.redis.credentials import Access
    from fleetgw.adapters.sinks.redis.names import Names
    from fleetgw.adapters.sinks.redis.pipe import Pipe
    from fleetgw.adapters.sinks.redis.routes import OpenPipe
    from fleetgw.adapters.sinks.redis.settings import Address, RedisSettings
    from fleetgw.adapters.sinks.support.context import ISinkReactor
    from fleetgw.domain.ports import Readiness
    from fleetgw.domain.records import Record

REFRESH_INTERVAL_S = 15.0
"""Pause between refreshes of the map when nothing hints at a change."""

RETRY_S = 0.5
"""Pause after a refresh that has failed."""


class ClusterRoutes:
    """One or more pipes to each master of a cluster; the slot of the vehicle's names decides on the master.

    :param view: used on the worker's thread only.
    :param refreshed: called after every refresh of the map, whether or not it has succeeded.
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
        refreshed: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._access = access
        self._names = names
        self._open_pipe = open_pipe
        self._view = view
        self._worker = worker
        self._reactor = reactor
        self._tell_refreshed = refreshed
        self._map: ClusterMap | None = None
        self.found = False
        self._by_master: dict[Address, list[Pipe]] = {}
        self._reason = "no node of the cluster has answered yet"
        self._refreshing = False
        self._asking = 0
        self._next_refresh: IDelayedCall | None = None
        self._stopped = False

    @property
    def pipes(self) -> Sequence[Pipe]:
        """The pipes to all masters."""
        return [pipe for pipes in self._by_master.values() for pipe in pipes]

    def start(self) -> None:
        """Read the map."""
        self.refresh()

    def pipe(self, record: Record) -> Pipe | Retryable:
        """See ``Routes``."""
        if self._map is None:
            return NotConnected(self._reason)
        master = self._map.master(self._names.slot_key(record))
        if master is None:
            self.refresh()
            return Retryable("no node of the cluster serves the vehicle's slot")
        return pipe_of_vehicle(record, self._by_master[master])

    def readiness(self) -> Readiness:
        """Ready when there is a map, and a master for every slot."""
        if self._map is None:
            return NotReady(self._reason)
        if missing := self._map.masters.count(None):
            return NotReady(f"no node of the cluster serves {missing} of its slots")
        return Ready()

    def refresh(self) -> None:
        """Read the map again, soon; to be called when a node does not answer, or has moved a vehicle elsewhere."""
        if self._refreshing or self._stopped:
            return
        self._refreshing = True
        if self._next_refresh is not None:
            self._next_refresh.cancel()
            self._next_refresh = None
        self._worker.do(self._refresh_on_worker)

    def ask_subscribed(self, channels: Sequence[bytes], then: Callable[[frozenset[bytes]], None]) -> None:
        """Find the channels with a subscriber at any node; the reply to PUBLISH counts the clients of one node only.

        :param then: called with them.
        """
        self._asking += 1
        self._worker.do(partial(self._ask_on_worker, channels, then))

    def stop(self) -> Deferred[None]:
        """Refresh no more, and close the view; fires once it is closed.

        A call of the view under way is not waited for, as it may hang in a name server: the view is closed after it.
        """
        self._stopped = True
        if self._next_refresh is not None:
            self._next_refresh.cancel()
            self._next_refresh = None
        closed: Deferred[None] = Deferred()
        if self._refreshing or self._asking:
            closed.callback(None)
        self._worker.do(partial(self._close_on_worker, closed))
        self._worker.quit()
        return closed

    # On the worker's thread

    def _refresh_on_worker(self) -> None:
        try:
            found: ClusterMap | str = self._view.read_map()
        except Exception as error:  # of any kind: there will be another refresh
            found = str(error)
        self._reactor.callFromThread(self._refreshed, found)

    def _ask_on_worker(self, channels: Sequence[bytes], then: Callable[[frozenset[bytes]], None]) -> None:
        try:
            subscribed = self._view.subscribed(channels)
        except Exception:  # of any kind: no subscriber is known then
            subscribed = frozenset()
        self._reactor.callFromThread(self._asked, subscribed, then)

    def _close_on_worker(self, closed: Deferred[None]) -> None:
        self._view.close()
        self._reactor.callFromThread(self._view_closed, closed)

    # On the reactor's thread

    def _refreshed(self, found: ClusterMap | str) -> None:
        self._refreshing = False
        self.found = True
        if self._stopped:
            return
        if isinstance(found, str):
            self._reason = found
        else:
            self._use_map(found)
        pause_s = RETRY_S if isinstance(found, str) else REFRESH_INTERVAL_S
        self._next_refresh = self._reactor.callLater(pause_s, self._refresh_after_pause)
        self._tell_refreshed()

    def _refresh_after_pause(self) -> None:
        self._next_refresh = None
        self.refresh()

    def _asked(self, subscribed: frozenset[bytes], then: Callable[[frozenset[bytes]], None]) -> None:
        self._asking -= 1
        then(subscribed)

    def _view_closed(self, closed: Deferred[None]) -> None:
        if not closed.called:
            closed.callback(None)

    def _use_map(self, found: ClusterMap) -> None:
        self._map = found
        masters = {master for master in found.masters if master is not None}
        for master in self._by_master.keys() - masters:
            for pipe in self._by_master.pop(master):
                pipe.quit()
        for master in masters - self._by_master.keys():
            connector = NodeConnector(master, self._access)
            self._by_master[master] = [self._open_pipe(connector) for _ in range(self._settings.connections)]
