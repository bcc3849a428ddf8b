"""The ``zmq`` sink: a PUB socket on the reactor's thread; sending never blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import zmq
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from zmq.utils.monitor import recv_monitor_message
from zope.interface import implementer

from fleetgw.adapters.files.watched import WatchedFiles
from fleetgw.adapters.sinks.support.base_sink import BaseSink
from fleetgw.adapters.sinks.support.failure_log import FailureLog
from fleetgw.adapters.sinks.support.numbers import PublishNumbers
from fleetgw.adapters.sinks.zmq.admission import Admission
from fleetgw.adapters.sinks.zmq.connections import EVENTS, Connections
from fleetgw.adapters.sinks.zmq.held_memory import MARK_BYTES, RECORD_BYTES, HeldMemory
from fleetgw.adapters.sinks.zmq.settings import key_files, read_settings
from fleetgw.domain.errors import ConfigurationError, Problem, Retryable
from fleetgw.domain.metrics import Kind, Metric
from fleetgw.domain.ports import RECEIPT, IReloadable, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.adapters.sinks.support.dispatch import Dispatch
    from fleetgw.domain.errors import DeliveryError
    from fleetgw.domain.records import Record

SUBSCRIBER_FULL_TOTAL = Metric(
    "zmq_subscriber_full_total",
    Kind.COUNTER,
    "Times that a subscriber had high_water_mark records waiting, or was cut beyond high_water_bytes: it missed some.",
)
"""The library tells when a subscriber begins to miss records, not how many it misses."""

TEND_INTERVAL_S = 0.1
"""How long a client may wait to be let in, and an event to be logged."""

PATIENCE_S = 0.5
"""Once ``high_water_bytes`` are held, subscribers have so long to halve them before the slow ones are cut."""

LINGER_MS = 500
"""How long what subscribers have not fetched yet may keep the socket when stopping."""

_NO_ROOM = Retryable("subscribers that read too slowly make the library hold high_water_bytes")


@implementer(IReloadable)
class ZmqSink(BaseSink):
    """Sends two frames per record: the topic ``<namespace>_<record type>``, and the payload.

    Delivered means that the socket has taken the record: a client that subscribes later, or reads too slowly, misses it.
    """

    takes_any_type = True  # it logs the record types that it rejects

    def __init__(self, context: SinkContext) -> None:
        super().__init__(context)
        self._key_files = WatchedFiles(key_files(context.settings))
        self._settings = read_settings(context.name, context.settings)
        self._reactor = context.reactor
        self._log = context.log
        self._failures = FailureLog(context.log, "zmq_dispatch_error", context.reactor)
        self._published = PublishNumbers(context.metrics, "zmq", "Records that the socket took.", context.record_types)
        self._topics = {
            record_type: context.destination(record_type).encode("utf-8", "surrogateescape")
            for record_type in context.record_types
        }
        self._subscriber_full = context.metrics.counter(SUBSCRIBER_FULL_TOTAL)
        self._socket: zmq.Socket[bytes] | None = None
        self._monitor: zmq.Socket[bytes] | None = None
        self._connections = Connections()
        self._memory = HeldMemory(self._settings.high_water_bytes)
        self._unmarked_bytes = 0
        self._full_since_s: float | None = None
        self._admission: Admission | None = None
        self._endpoint = ""
        self._unbound = False
        self._tending = LoopingCall(self._tend)
        self._tending.clock = context.reactor

    def open(self) -> None:
        """Bind the socket.

        :raises ConfigurationError: it cannot be bound.
        """
        self._sockets: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        publisher = self._sockets.socket(zmq.PUB)
        publisher.setsockopt(zmq.SNDHWM, self._settings.high_water_mark)
        publisher.setsockopt(zmq.LINGER, LINGER_MS)
        publisher.setsockopt(zmq.IPV6, int(self._settings.needs_ipv6))
        # sending then says when a subscriber would miss a record, which PUB otherwise keeps to itself
        publisher.setsockopt(zmq.XPUB_NODROP, 1)
        curve = self._settings.curve
        if curve is not None:
            self._admission = Admission(self._sockets, curve, self._log, self._reactor)
            self._admission.guard(publisher)
        self._monitor = publisher.get_monitor_socket(zmq.EVENT_ALL if self._settings.verbose else EVENTS)
        try:
            publisher.bind(self._settings.addr)
            self._endpoint = publisher.get_string(zmq.LAST_ENDPOINT).rstrip("\0")
        except zmq.ZMQError as error:
            self._socket = publisher
            self._close()
            self._sockets.term()
            what = f"{self._settings.addr} cannot be bound: {error.strerror}"
            fix = 'must be an address of this machine that nobody listens on, such as "tcp://127.0.0.1:5284"'
            raise ConfigurationError([Problem(f"{self.name}.addr", what, fix)]) from error
        self._socket = publisher
        self._tending.start(TEND_INTERVAL_S, now=False)
        self._log.info("zmq_bound", addr=self._settings.addr, curve=curve is not None)
        self.destination.ready()

    def deliver(self, dispatch: Dispatch) -> None:
        """Hand records to the socket; the outcomes are there at once."""
        if self._socket is not None:
            self.settle_all(dispatch, self._publish(self._socket, dispatch.batch))

    def _publish(self, publisher: zmq.Socket[bytes], batch: Sequence[Record]) -> Sequence[Outcome]:
        outcomes: list[Outcome] = []
        sizes: dict[str, list[int]] = {}
        for record in batch:
            record_type = record.record_type
            try:
                topic = self._topics[record_type]
                self._unmarked_bytes += len(record.payload) + RECORD_BYTES
                if self._unmarked_bytes >= MARK_BYTES:
                    if not self._memory.has_room():
                        outcomes.append(self._no_room(record))
                        continue
                    self._send_marked(publisher, topic, record)
                else:
                    try:
                        publisher.send(topic, zmq.SNDMORE | zmq.DONTWAIT)
                        publisher.send(record.payload, zmq.DONTWAIT)
                    except zmq.Again:
                        self._send_in_need(publisher, topic, record.payload, record_type)
            except Exception as error:  # whatever it is, it becomes the record's outcome
                outcomes.append(self._failed(record, error))
                continue
            outcomes.append(RECEIPT)
            if record_type in sizes:
                sizes[record_type].append(len(topic) + len(record.payload))
            else:
                sizes[record_type] = [len(topic) + len(record.payload)]
        for record_type, taken in sizes.items():
            self._published.published(record_type, len(taken), sum(taken))
        return outcomes

    def _send_marked(self, publisher: zmq.Socket[bytes], topic: bytes, record: Record) -> None:
        """Send so that the library tells when it has let go of the record: its memory is the record's."""
        frame = zmq.Frame(record.payload, track=True, copy=False)
        try:
            publisher.send(topic, zmq.SNDMORE | zmq.DONTWAIT)
            publisher.send(frame, zmq.DONTWAIT)
        except zmq.Again:
            self._send_in_need(publisher, topic, frame, record.record_type)
        self._memory.add(frame.tracker, self._unmarked_bytes)
        self._unmarked_bytes = 0

    def _no_room(self, record: Record) -> DeliveryError:
        self._unmarked_bytes -= len(record.payload) + RECORD_BYTES
        if self._full_since_s is None:
            self._full_since_s = self._reactor.seconds()
        self._published.failed(record.record_type)
        self._failures.add("full", str(_NO_ROOM), record_type=record.record_type)
        return _NO_ROOM

    def _relieve(self, publisher: zmq.Socket[bytes], full_since_s: float) -> None:
        """Cut the slow subscribers when they have had time; the others get nothing large meanwhile."""
        publisher.getsockopt(zmq.EVENTS)  # has the library let go of what it holds for subscribers that are gone
        now_s = self._reactor.seconds()
        if self._memory.is_relieved():
            self._full_since_s = None
        elif now_s - full_since_s >= PATIENCE_S:
            self._full_since_s = now_s
            cut = self._connections.cut_slowest(self._endpoint)
            if not cut:
                self._bind_anew(publisher)  # nothing tells who it is
            self._subscriber_full.add(max(cut, 1))
            self._failures.add("cut", "a subscriber reads too slowly, has been cut and misses records")

    def _send_in_need(
        self, publisher: zmq.Socket[bytes], topic: bytes, payload: bytes | zmq.Frame, record_type: str
    ) -> None:
        """Send although a subscriber seems to have no room: to the others, if it has none."""
        publisher.getsockopt(zmq.EVENTS)  # has the library note what subscribers have fetched; sending alone does so seldom
        try:
            publisher.send_multipart((topic, payload), zmq.DONTWAIT)
        except zmq.Again:
            self._send_to_others(publisher, topic, payload, record_type)

    def _send_to_others(
        self, publisher: zmq.Socket[bytes], topic: bytes, payload: bytes | zmq.Frame, record_type: str
    ) -> None:
        publisher.setsockopt(zmq.XPUB_NODROP, 0)
        try:
            publisher.send_multipart((topic, payload), zmq.DONTWAIT)
        finally:
            publisher.setsockopt(zmq.XPUB_NODROP, 1)
        self._subscriber_full.add(1)
        self._failures.add("dropped", "a subscriber reads too slowly and misses records", record_type=record_type)

    def _failed(self, record: Record, error: Exception) -> DeliveryError:
        outcome: DeliveryError = Retryable(f"the socket did not take it: {error!r}")
        if record.record_type not in self._topics:
            outcome = self._context.not_routed(record.record_type)
        self._published.failed(record.record_type)
        self._failures.add(type(error).__name__, str(outcome))
        return outcome

    def close(self) -> Deferred[None] | None:
        """Close the socket; fires when subscribers have fetched what waits, half a second later at most."""
        if self._socket is None:
            return None
        self._close()
        closed: Deferred[None] = Deferred()
        self._reactor.callInThread(self._terminate, closed)
        return closed

    def reload(self) -> Sequence[str]:
        """See ``IReloadable``. Allowed clients count from the next one on; with keys of our own, all connect again.

        The library shows a socket's keys as they were when it was bound.
        """
        changed = self._key_files.changed()
        if not changed or self._socket is None or self._admission is None:
            return []
        try:
            self._settings = read_settings(self.name, self._context.settings)
        except ConfigurationError:
            self._key_files.report_again(changed)
            raise
        if self._settings.curve is not None and self._admission.take(self._settings.curve, self._socket):
            self._bind_anew(self._socket)
        return [str(path) for path in changed]

    def _bind_anew(self, publisher: zmq.Socket[bytes]) -> None:
        """Cut all subscribers, who connect again."""
        publisher.unbind(self._endpoint)
        self._unbound = True
        self.destination.not_ready(f"{self._endpoint} is being bound again")
        self._bind_again(publisher)

    def _bind_again(self, publisher: zmq.Socket[bytes]) -> None:
        """Bind anew; while the library still lets go of the old place, ``_tend`` tries again."""
        try:
            publisher.bind(self._endpoint)
        except zmq.ZMQError as error:
            self._failures.add("bind", f"{self._endpoint} cannot be bound again: {error.strerror}")
        else:
            self._unbound = False
            self.destination.ready()

    def _close(self) -> None:
        if self._tending.running:
            self._tending.stop()
        if self._monitor is not None and self._socket is not None:
            self._socket.disable_monitor()
            self._monitor.close()
            self._monitor = None
        if self._admission is not None:
            self._admission.close()
            self._admission = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _terminate(self, closed: Deferred[None]) -> None:
        """Wait for the socket's last bytes; runs in a thread, as it blocks."""
        self._sockets.term()
        self._reactor.callFromThread(closed.callback, None)

    def _tend(self) -> None:
        """Look after what nobody waits for urgently: polled, as ZMQ's descriptors tell of changes only."""
        if self._unbound and self._socket is not None:
            self._bind_again(self._socket)
        if self._admission is not None:
            self._admission.answer()
        while self._monitor is not None and self._monitor.poll(0):
            event = recv_monitor_message(self._monitor)
            self._connections.hear(event)
            if not self._settings.verbose:
                continue
            endpoint = event["endpoint"].decode("utf-8", "replace")
            self._log.info("zmq_socket_event", socket_event=str(zmq.Event(event["event"]).name).lower(), endpoint=endpoint)
        if self._full_since_s is not None and self._socket is not None and not self._unbound:
            self._relieve(self._socket, self._full_since_s)
