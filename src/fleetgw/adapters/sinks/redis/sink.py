"""Redis: each record is published to the clients that subscribe to its vehicle."""

from __future__ import annotations

from functools import partial
from itertools import count
from typing import TYPE_CHECKING
from weakref import WeakSet

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from fleetgw.adapters.sinks.redis.cluster import RedisClusterView
from fleetgw.adapters.sinks.redis.command_stream import Moved
from fleetgw.adapters.sinks.redis.credentials import Credentials
from fleetgw.adapters.sinks.redis.exchange import Clocks
from fleetgw.adapters.sinks.redis.names import Names
from fleetgw.adapters.sinks.redis.parts import Part
from fleetgw.adapters.sinks.redis.pipe import ThreadedPipe
from fleetgw.adapters.sinks.redis.poison_records import Quarantined
from fleetgw.adapters.sinks.redis.routes import ClusterRoutes, DirectRoutes
from fleetgw.adapters.sinks.support.dispatch import Dispatch
from fleetgw.adapters.sinks.support.failure_log import FailureLog
from fleetgw.adapters.sinks.support.numbers import PublishNumbers
from fleetgw.adapters.sinks.support.serial_worker import SerialWorker
from fleetgw.domain.errors import DeliveryError, NotConnected, Retryable, Unheard
from fleetgw.domain.metrics import Kind, Metric
from fleetgw.domain.ports import RECEIPT, IDispatcher, IHoldsCopies, IReloadable, NotReady, Ready

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fleetgw.adapters.sinks.redis.cluster import ClusterView
    from fleetgw.adapters.sinks.redis.connectors import FindServer
    from fleetgw.adapters.sinks.redis.credentials import Access
    from fleetgw.adapters.sinks.redis.pipe import Pipe
    from fleetgw.adapters.sinks.redis.routes import Routes
    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.adapters.sinks.support.serial_worker import Worker
    from fleetgw.domain.ports import Outcome, Readiness
    from fleetgw.domain.records import Record

NO_RECEIVER_TOTAL = Metric(
    "redis_no_receiver_total", Kind.COUNTER, "Records that no client of Redis was there to receive.", ("record_type",)
)

_GIVEN_UP = Retryable("the sink stopped before Redis answered")
_NOT_RUNNING = NotConnected("the Redis sink is not running")
_NO_RECEIVER = Unheard("no client of Redis subscribes to the vehicle")


@implementer(IDispatcher, IHoldsCopies, IReloadable)
class RedisSink:
    """Publishes a batch at once, over connections that never wait for one record before the next.

    Threads: the reactor's, one for each connection, and one that looks at the cluster. They meet in ``Pipe.submit`` and in
    ``reactor.callFromThread``: this class is the connections' ``PipeListener``.

    :param context: settings are the section ``redis``.
    :param make_pipe: makes a connection, for tests.
    :param make_view: makes what looks at a cluster, for tests.
    :param make_worker: makes the thread for that from its name, for tests.
    :param clocks: of the connections, for tests.
    """

    memory_weight = 1.5
    """Commands are encoded as they leave; what is noted of each record is some 400 bytes."""

    def __init__(
        self,
        context: SinkContext,
        make_pipe: Callable[..., Pipe] = ThreadedPipe,
        make_view: Callable[[Access], ClusterView] = RedisClusterView,
        make_worker: Callable[[str], Worker] = SerialWorker,
        clocks: Clocks | None = None,
    ) -> None:
        self.name = context.name
        self._context = context
        self._make_pipe = make_pipe
        self._make_view = make_view
        self._make_worker = make_worker
        self._clocks = clocks or Clocks()
        self._credentials = Credentials(context.name, context.settings, self._read_again, self._unusable)
        self._settings = self._credentials.current()
        self._names = Names(context, vin_topics=self._settings.vin_topics, set_prefix=self._settings.set_prefix)
        published = "Channels that records were published to, of records that clients of Redis received."
        self._numbers = PublishNumbers(context.metrics, "redis", published, context.record_types)
        self._no_receiver = {
            record_type: context.metrics.counter(NO_RECEIVER_TOTAL, record_type=record_type)
            for record_type in context.record_types
        }
        self._failures = FailureLog(context.log, "redis_err", context.reactor)
        self._credential_failures = FailureLog(context.log, "credentials_not_reloaded", context.reactor)
        self._thread_numbers = count(1)
        self._readiness: dict[Pipe, Readiness] = {}
        self._finders: dict[Pipe, FindServer] = {}
        self._alone: dict[FindServer, Pipe] = {}
        self._quarantined: WeakSet[Record] = WeakSet()
        self._trouble: NotReady | None = None
        self._routes: Routes | None = None
        self._cluster: ClusterRoutes | None = None
        self._open: set[Dispatch] = set()
        self._waiting: list[Dispatch] = []
        self._stopped: Deferred[None] | None = None
        self._closing: set[Pipe | ClusterRoutes] = set()
        self._released = False

    def start(self) -> Deferred[None]:
        """Start the threads; they connect now or later."""
        settings = self._settings
        for key in settings.without_meaning:
            self._context.log.warn(
                "redis_setting_ignored", key=key, reason="connections are kept, and shared by all records"
            )
        if settings.cluster:
            self._use_cluster()
        else:
            self._routes = DirectRoutes(settings, self._credentials, self._open_pipe, self._found_cluster)
            self._routes.start()
        servers = ",".join(map(str, settings.addresses))
        mode = "cluster" if settings.cluster else "single" if settings.sentinel_master is None else "sentinel"
        self._context.log.info(
            "redis_registered",
            namespace=self._context.namespace,
            publish_vin_topics=settings.vin_topics,
            subscriber_set_prefix=settings.set_prefix,
            servers=servers,
            mode=mode,
        )
        return succeed(None)

    def reload(self) -> Sequence[str]:
        """See ``IReloadable``."""
        return self._credentials.reload()

    def dispatch(self, batch: Sequence[Record]) -> Deferred[Sequence[Outcome]]:
        """Give records to their connections, or let them wait for the first look at the cluster."""
        routes = self._routes
        if routes is None or self._stopped is not None:
            return succeed([_NOT_RUNNING] * len(batch))
        under_way = Dispatch(batch)
        self._open.add(under_way)
        if routes.found:
            self._route(under_way, routes)
        else:
            self._waiting.append(under_way)
        return under_way.answer

    def stop(self) -> Deferred[None]:
        """Wait for what is under way, then let the threads end. Takes no longer than a record may."""
        self._stopped = Deferred(self._give_up)
        if not self._open:
            self._release()
        return self._stopped

    def readiness(self) -> Readiness:
        """By the state of the connections, and the last replies."""
        routes = self._routes
        if routes is None or self._stopped is not None:
            return NotReady("not started" if routes is None else "stopped")
        states = (routes.readiness(), *(self._readiness[pipe] for pipe in routes.pipes), self._trouble)
        return next((state for state in states if isinstance(state, NotReady)), Ready())

    # PipeListener: on a connection's thread

    def settled(self, parts: Sequence[Part]) -> None:
        """See ``PipeListener``."""
        if parts:
            self._context.reactor.callFromThread(self._take_results, parts)

    def changed(self, pipe: Pipe, readiness: Readiness) -> None:
        """See ``PipeListener``."""
        self._context.reactor.callFromThread(self._note_change, pipe, readiness)

    def closed(self, pipe: Pipe) -> None:
        """See ``PipeListener``."""
        self._context.reactor.callFromThread(self._pipe_closed, pipe)

    # On a connection's thread, or on that which looks at the cluster

    def _read_again(self, files: Sequence[str]) -> None:
        log = self._context.log
        self._context.reactor.callFromThread(log.info, "credentials_reloaded", dispatcher=self.name, files=[*files])

    def _unusable(self, reason: str) -> None:
        self._context.reactor.callFromThread(self._credential_failures.add, "", reason, dispatcher=self.name)

    def _found_cluster(self) -> None:
        self._context.reactor.callFromThread(self._turn_to_cluster)

    # On the reactor's thread

    def _use_cluster(self) -> None:
        worker = self._make_worker(f"fleetgw-{self.name}-cluster")
        view = self._make_view(self._credentials)
        self._routes = self._cluster = ClusterRoutes(
            self._settings,
            self._credentials,
            self._names,
            self._open_pipe,
            view,
            worker,
            self._context.reactor,
            self._route_waiting,
        )
        self._cluster.start()

    def _turn_to_cluster(self) -> None:
        """Servers that were not said to be one are a cluster: a single one of them has some vehicles only."""
        if self._cluster is not None or self._stopped is not None or self._settings.sentinel_master is not None:
            return
        direct = [] if self._routes is None else [*self._routes.pipes]
        self._context.log.warn(
            "redis_cluster_found",
            servers=",".join(map(str, self._settings.addresses)),
            reason="these are nodes of a cluster, and are used as one from now on: set redis.cluster_mode to true",
        )
        self._use_cluster()
        for pipe in direct:
            pipe.quit()

    def _open_pipe(self, find_server: FindServer) -> Pipe:
        pipe = self._new_pipe(find_server)
        self._finders[pipe] = find_server
        return pipe

    def _new_pipe(self, find_server: FindServer, *, alone: bool = False) -> Pipe:
        pipe = self._make_pipe(
            f"fleetgw-{self.name}-{next(self._thread_numbers)}",
            find_server,
            self._names,
            self._settings,
            self,
            self._clocks,
            alone=alone,
        )
        self._readiness[pipe] = NotReady(f"{find_server}: has not answered yet")
        pipe.start()
        return pipe

    def _pipe_for(self, record: Record, pipe: Pipe) -> Pipe:
        """A record over which connections were lost takes one that no other record takes."""
        if record not in self._quarantined:
            return pipe
        find_server = self._finders[pipe]
        if find_server not in self._alone:
            self._alone[find_server] = self._new_pipe(find_server, alone=True)
        return self._alone[find_server]

    def _route(self, under_way: Dispatch, routes: Routes) -> None:
        """Hand records to the threads of the connections that they take."""
        batch = under_way.batch
        indexes_by_pipe: dict[Pipe, list[int]] = {}
        refusal = self._names.refusal
        for index, record in enumerate(batch):
            pipe = refusal(record) or routes.pipe(record)
            if isinstance(pipe, DeliveryError):
                self._failures.add(type(pipe).__name__, str(pipe))
                self._numbers.failed(record.record_type)
                under_way.settle(index, pipe)
            else:
                if self._quarantined:
                    pipe = self._pipe_for(record, pipe)
                indexes_by_pipe.setdefault(pipe, []).append(index)
        for pipe, indexes in indexes_by_pipe.items():
            pipe.submit(Part(under_way, indexes, [batch[index] for index in indexes]))
        self._finish(under_way)

    def _route_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for under_way in waiting:
            if self._routes is not None and under_way in self._open:
                self._route(under_way, self._routes)

    def _note_change(self, pipe: Pipe, readiness: Readiness) -> None:
        if pipe not in self._readiness:
            return
        self._readiness[pipe] = readiness
        if isinstance(readiness, Ready):
            self._trouble = None  # of another connection's time
        else:
            self._failures.add(NotConnected.__name__, readiness.reason)
            if self._cluster is not None:
                self._cluster.doubt()

    def _take_results(self, parts: Sequence[Part]) -> None:
        for part in parts:
            if part.batch not in self._open:
                continue  # given up
            channels = [channel for channels in part.channels.values() for channel in channels]
            if channels and self._cluster is not None:
                self._cluster.ask_listened(channels, partial(self._conclude, part))
            else:
                self._conclude(part, frozenset())

    def _conclude(self, part: Part, listened: frozenset[bytes]) -> None:
        """Turn results into outcomes.

        :param listened: channels that somebody listens to though no reply has counted them.
        """
        under_way = part.batch
        if under_way not in self._open:
            return  # given up
        published: dict[str, tuple[int, int]] = {}  # channels and payload bytes, by record type
        errors: dict[str, DeliveryError] = {}  # by reason
        for place, (index, record, result) in enumerate(zip(part.indexes, part.records, part.results, strict=True)):
            outcome: Outcome
            if isinstance(result, DeliveryError):
                outcome = self._of_this_record(record, result)
                errors[str(result)] = result
                self._numbers.failed(record.record_type)
                if isinstance(result, Moved):
                    self._moved()
            elif result or not listened.isdisjoint(part.channels.get(place, ())):
                outcome = RECEIPT
                channels = part.channel_counts.get(place) or len(part.channels[place])
                count, size_bytes = published.get(record.record_type, (0, 0))
                published[record.record_type] = count + channels, size_bytes + channels * len(record.payload)
            else:
                outcome = _NO_RECEIVER
                self._no_receiver[record.record_type].add(1)
            under_way.settle(index, outcome)
        for record_type, (count, size_bytes) in published.items():
            self._numbers.published(record_type, count, size_bytes)
        self._note_trouble(part, errors)
        self._finish(under_way)

    def _of_this_record(self, record: Record, error: DeliveryError) -> DeliveryError:
        """A node that is out of reach is not the cluster: the records of the others must not wait for it."""
        if isinstance(error, Quarantined):
            self._quarantined.add(record)
            return error
        if isinstance(error, NotConnected) and record in self._quarantined:
            return Retryable(str(error))  # its own connection says nothing of the others'
        others = self._cluster.pipes if self._cluster is not None else ()
        if isinstance(error, NotConnected) and any(isinstance(self._readiness[pipe], Ready) for pipe in others):
            return Retryable(str(error))
        return error

    def _moved(self) -> None:
        if self._cluster is not None:
            self._cluster.doubt()
        else:
            self._turn_to_cluster()

    def _note_trouble(self, part: Part, errors: Mapping[str, DeliveryError]) -> None:
        for reason, error in errors.items():
            self._failures.add(_kind_of(error), reason)
        retryable = [result for result in part.results if isinstance(result, Retryable)]
        last = retryable[-1] if retryable else None
        self._trouble = NotReady(str(last)) if last is not None and not isinstance(last, NotConnected) else None

    def _finish(self, under_way: Dispatch) -> None:
        if under_way.unsettled:
            return
        self._open.discard(under_way)
        under_way.answer_now()
        if self._stopped is not None and not self._open:
            self._release()

    def _give_up(self, stopped: Deferred[None]) -> None:
        """Stopping was cancelled."""
        self._release()
        abandoned, self._open = self._open, set()
        for under_way in abandoned:
            for index in range(len(under_way.batch)):
                under_way.settle(index, _GIVEN_UP)
            under_way.answer_now()
        stopped.callback(None)

    def _release(self) -> None:
        """Let the threads end."""
        if self._released:
            return
        self._released = True
        self._closing = {*self._readiness}
        if self._cluster is not None:
            self._closing.add(self._cluster)
            self._cluster.stop(partial(self._closed, self._cluster))
        for pipe in self._readiness:
            pipe.quit()
        self._end_when_closed()

    def _pipe_closed(self, pipe: Pipe) -> None:
        del self._readiness[pipe]
        find_server = self._finders.pop(pipe, None)
        if not self._released and find_server in self._alone and find_server not in self._finders.values():
            self._alone.pop(find_server).quit()  # a node that has left the cluster
        self._closed(pipe)

    def _closed(self, ended: Pipe | ClusterRoutes) -> None:
        self._closing.discard(ended)
        self._end_when_closed()

    def _end_when_closed(self) -> None:
        if self._released and not self._closing and self._stopped is not None and not self._stopped.called:
            self._stopped.callback(None)


def _kind_of(error: DeliveryError) -> str:
    """Redis's error code, such as ``NOPERM``, or the error's place in the tree."""
    code = str(error).partition(" ")[0]
    return code if code.isalpha() and code.isupper() else type(error).__name__
