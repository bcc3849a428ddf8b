"""The ``redis`` sink: publishes each record to the clients that subscribe to its vehicle."""

from __future__ import annotations

from functools import partial
from itertools import count
from typing import TYPE_CHECKING
from weakref import WeakSet

from twisted.internet.defer import gatherResults
from zope.interface import implementer

from fleetgw.adapters.process.serial_worker import SerialWorker
from fleetgw.adapters.sinks.redis.cluster import RedisClusterView
from fleetgw.adapters.sinks.redis.cluster_routes import ClusterRoutes
from fleetgw.adapters.sinks.redis.connections import Connections
from fleetgw.adapters.sinks.redis.credentials import Credentials
from fleetgw.adapters.sinks.redis.metrics import NO_RECEIVER, RedisMetrics
from fleetgw.adapters.sinks.redis.names import Names
from fleetgw.adapters.sinks.redis.parts import Part
from fleetgw.adapters.sinks.redis.poison_records import Quarantined
from fleetgw.adapters.sinks.redis.replies import Moved
from fleetgw.adapters.sinks.redis.routes import DirectRoutes
from fleetgw.adapters.sinks.redis.threaded_pipe import ThreadedPipe
from fleetgw.adapters.sinks.redis.waiting import Clocks
from fleetgw.adapters.sinks.support.failure_log import FailureLog
from fleetgw.adapters.sinks.support.lifecycle_sink import LifecycleSink
from fleetgw.domain.errors import DeliveryError, NotConnected, Retryable
from fleetgw.domain.ports import RECEIPT, IHoldsCopies, IReloadable, ITakesFurtherTypes, NotReady, Ready

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from twisted.internet.defer import Deferred

    from fleetgw.adapters.process.serial_worker import Worker
    from fleetgw.adapters.sinks.redis.cluster import ClusterView
    from fleetgw.adapters.sinks.redis.connectors import Connector
    from fleetgw.adapters.sinks.redis.credentials import Access
    from fleetgw.adapters.sinks.redis.pipe import Pipe
    from fleetgw.adapters.sinks.redis.routes import Routes
    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.adapters.sinks.support.dispatch import Dispatch
    from fleetgw.domain.ports import Outcome, Readiness
    from fleetgw.domain.records import Record


@implementer(IHoldsCopies, IReloadable, ITakesFurtherTypes)
class RedisSink(LifecycleSink):
    """Publishes records over pipelined connections: no record waits for the reply to another one.

    Each pipe has a thread, and so has the view of a cluster. They use ``Pipe.submit`` and ``reactor.callFromThread`` to
    talk to the reactor's thread: this class is the ``PipeListener`` of its pipes.

    :param make_pipe: makes a pipe; tests give their own, as for the other parameters.
    :param make_view: makes the view of a cluster.
    :param make_worker: makes the thread of that view, from its name.
    :param clocks: of the pipes.
    """

    memory_weight = 1.5
    """Commands are encoded as they are sent; the entries of a record in lists and dictionaries are some 400 bytes."""

    def __init__(
        self,
        context: SinkContext,
        make_pipe: Callable[..., Pipe] = ThreadedPipe,
        make_view: Callable[[Access], ClusterView] = RedisClusterView,
        make_worker: Callable[[str], Worker] = SerialWorker,
        clocks: Clocks | None = None,
    ) -> None:
        super().__init__(context)
        self._make_pipe = make_pipe
        self._make_view = make_view
        self._make_worker = make_worker
        self._clocks = clocks or Clocks()
        self._credentials = Credentials(context.name, context.settings, self._credentials_read, self._credentials_unusable)
        self._settings = self._credentials.current()
        self._names = Names(context, vin_topics=self._settings.vin_topics, set_prefix=self._settings.set_prefix)
        self._redis_numbers = RedisMetrics(context)
        self._failures = FailureLog(context.log, "redis_err", context.reactor)
        self._credential_failures = FailureLog(context.log, "credentials_not_reloaded", context.reactor)
        self._thread_numbers = count(1)
        self._connections = Connections(self._new_pipe)
        self._quarantined: WeakSet[Record] = WeakSet()
        self._error_reply: NotReady | None = None
        self._cluster: ClusterRoutes | None = None
        self._routes: Routes = DirectRoutes(self._settings, self._credentials, self._connections.open, self._cluster_found)
        self._without_routes: list[Dispatch] = []

    def open(self) -> None:
        """Start the threads; they connect now or later."""
        settings, log = self._settings, self._context.log
        for key in settings.without_effect:
            log.warn("redis_setting_ignored", key=key, reason="connections are kept, and shared by all records")
        if settings.cluster:
            self._use_cluster()
        else:
            self._routes.start()
        mode = "cluster" if settings.cluster else "single" if settings.sentinel_master is None else "sentinel"
        log.info(
            "redis_registered",
            namespace=self._context.namespace,
            publish_vin_topics=settings.vin_topics,
            subscriber_set_prefix=settings.set_prefix,
            servers=",".join(map(str, settings.addresses)),
            mode=mode,
        )
        self._update_readiness()

    def reload(self) -> Sequence[str]:
        """See ``IReloadable``."""
        return self._credentials.reload()

    def deliver(self, dispatch: Dispatch) -> None:
        """Submit records to their pipes; they wait while the nodes of the cluster are not known yet."""
        if self._routes.found:
            self._submit(dispatch)
        else:
            self._without_routes.append(dispatch)

    def close(self) -> Deferred[None]:
        """Close all connections; fires once their threads have ended."""
        closing = [self._connections.close()]
        if self._cluster is not None:
            closing.append(self._cluster.stop())
        return gatherResults(closing).addCallback(lambda _: None)

    # PipeListener: on a pipe's thread

    def parts_settled(self, parts: Sequence[Part]) -> None:
        """See ``PipeListener``."""
        if parts:
            self._context.reactor.callFromThread(self._take_results, parts)

    def pipe_changed(self, pipe: Pipe, readiness: Readiness) -> None:
        """See ``PipeListener``."""
        self._context.reactor.callFromThread(self._take_change, pipe, readiness)

    def pipe_closed(self, pipe: Pipe) -> None:
        """See ``PipeListener``."""
        self._context.reactor.callFromThread(self._connections.closed, pipe)

    # On any thread

    def _credentials_read(self, files: Sequence[str]) -> None:
        log = self._context.log
        self._context.reactor.callFromThread(log.info, "credentials_reloaded", dispatcher=self.name, files=[*files])

    def _credentials_unusable(self, reason: str) -> None:
        self._context.reactor.callFromThread(self._credential_failures.add, "", reason, dispatcher=self.name)

    def _cluster_found(self) -> None:
        self._context.reactor.callFromThread(self._change_to_cluster)

    # On the reactor's thread

    def _use_cluster(self) -> None:
        worker = self._make_worker(f"fleetgw-{self.name}-cluster")
        view = self._make_view(self._credentials)
        self._routes = self._cluster = ClusterRoutes(
            self._settings,
            self._credentials,
            self._names,
            self._connections.open,
            view,
            worker,
            self._context.reactor,
            self._cluster_refreshed,
        )
        self._cluster.start()

    def _change_to_cluster(self) -> None:
        """Use servers as a cluster that were configured as single ones: each of them has some of the vehicles only."""
        if self._cluster is not None or not self._running or self._settings.sentinel_master is not None:
            return
        direct = self._routes.pipes
        self._context.log.warn(
            "redis_cluster_found",
            servers=",".join(map(str, self._settings.addresses)),
            reason="these are nodes of a cluster, and are used as one from now on: set redis.cluster_mode to true",
        )
        self._use_cluster()
        for pipe in direct:
            pipe.quit()
        self._update_readiness()

    def _new_pipe(self, connector: Connector, *, alone: bool) -> Pipe:
        name = f"fleetgw-{self.name}-{next(self._thread_numbers)}"
        return self._make_pipe(name, connector, self._names, self._settings, self, self._clocks, alone=alone)

    def _submit(self, dispatch: Dispatch) -> None:
        batch, routes, refusal = dispatch.batch, self._routes, self._names.refusal
        indexes_by_pipe: dict[Pipe, list[int]] = {}
        for index, record in enumerate(batch):
            pipe = refusal(record) or routes.pipe(record)
            if isinstance(pipe, DeliveryError):
                self._failures.add(type(pipe).__name__, str(pipe))
                self._redis_numbers.refused(record)
                self.settle(dispatch, index, pipe)
            else:
                if self._quarantined and record in self._quarantined:
                    pipe = self._connections.for_quarantined(pipe)
                indexes_by_pipe.setdefault(pipe, []).append(index)
        for pipe, indexes in indexes_by_pipe.items():
            pipe.submit(Part(dispatch, indexes, [batch[index] for index in indexes]))

    def _cluster_refreshed(self) -> None:
        self._update_readiness()
        waiting, self._without_routes = self._without_routes, []
        for dispatch in waiting:
            self._submit(dispatch)

    def _take_change(self, pipe: Pipe, readiness: Readiness) -> None:
        self._connections.changed(pipe, readiness)
        if isinstance(readiness, Ready):
            self._error_reply = None  # of an earlier connection
        else:
            self._failures.add(NotConnected.__name__, readiness.reason)
            if self._cluster is not None:
                self._cluster.refresh()
        self._update_readiness()

    def _take_results(self, parts: Sequence[Part]) -> None:
        for part in parts:
            channels = [channel for channels in part.channels.values() for channel in channels]
            if channels and self._cluster is not None:
                self._cluster.ask_subscribed(channels, partial(self._settle_part, part))
            else:
                self._settle_part(part, frozenset())

    def _settle_part(self, part: Part, subscribed: frozenset[bytes]) -> None:
        """Turn the results of a part into outcomes.

        :param subscribed: channels with a subscriber at any node, although PUBLISH has counted none.
        """
        dispatch = part.dispatch
        if not dispatch.unsettled:
            return  # the sink has given up
        outcomes: list[Outcome] = []
        errors: dict[str, DeliveryError] = {}  # by reason
        for place, (record, result) in enumerate(zip(part.records, part.results, strict=True)):
            if isinstance(result, DeliveryError):
                outcomes.append(self._outcome_of_one(record, result))
                errors[str(result)] = result
            elif result or not subscribed.isdisjoint(part.channels.get(place, ())):
                outcomes.append(RECEIPT)
            else:
                outcomes.append(NO_RECEIVER)
        self._redis_numbers.count(part, outcomes)
        self._note_errors(part, errors)
        for index, outcome in zip(part.indexes, outcomes, strict=True):
            dispatch.settle(index, outcome)
        if not dispatch.unsettled:
            self.finish(dispatch)

    def _outcome_of_one(self, record: Record, error: DeliveryError) -> DeliveryError:
        """``NotConnected`` would hold back all records: where others can be delivered, it becomes ``Retryable``."""
        if isinstance(error, Quarantined):
            self._quarantined.add(record)
        elif isinstance(error, NotConnected) and (record in self._quarantined or self._has_ready_node()):
            return Retryable(str(error))
        return error

    def _has_ready_node(self) -> bool:
        pipes = self._cluster.pipes if self._cluster is not None else ()
        return any(isinstance(self._connections.readiness(pipe), Ready) for pipe in pipes)

    def _note_errors(self, part: Part, errors: Mapping[str, DeliveryError]) -> None:
        """Log the errors of a part, by reason, and take the last one into the readiness."""
        for reason, error in errors.items():
            self._failures.add(_kind_of(error), reason)
        if any(isinstance(error, Moved) for error in errors.values()):
            if self._cluster is not None:
                self._cluster.refresh()
            else:
                self._change_to_cluster()
        last = next((result for result in reversed(part.results) if isinstance(result, Retryable)), None) if errors else None
        self._error_reply = None if last is None or isinstance(last, NotConnected) else NotReady(str(last))
        self._update_readiness()

    def _update_readiness(self) -> None:
        """Not ready if the servers are not known, any connection is lost, or the last reply was an error."""
        states = (self._routes.readiness(), *map(self._connections.readiness, self._routes.pipes), self._error_reply)
        self.destination.update(next((state for state in states if isinstance(state, NotReady)), Ready()))


def _kind_of(error: DeliveryError) -> str:
    """The error code of Redis, such as ``NOPERM``, or the name of the error's class."""
    code = str(error).partition(" ")[0]
    return code if code.isalpha() and code.isupper() else type(error).__name__
