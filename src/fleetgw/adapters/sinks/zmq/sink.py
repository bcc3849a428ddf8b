"""The ``zmq`` sink: a PUB socket on the reactor's thread, with sends that never block."""

from __future__ import annotations

from typing import TYPE_CHECKING

import zmq
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from zmq.utils.monitor import recv_monitor_message
from zope.interface import implementer

from fleetgw.adapters.files.watched import WatchedFiles
from fleetgw.adapters.sinks.support.by_record_type import ByRecordType
from fleetgw.adapters.sinks.support.failure_log import FailureLog
from fleetgw.adapters.sinks.support.lifecycle_sink import LifecycleSink
from fleetgw.adapters.sinks.support.publish_metrics import PublishMetrics
from fleetgw.adapters.sinks.zmq.admission import Admission
from fleetgw.adapters.sinks.zmq.connections import EVENTS, Connections
from fleetgw.adapters.sinks.zmq.held_memory import MARK_BYTES, RECORD_BYTES, HeldMemory
from fleetgw.adapters.sinks.zmq.settings import key_files, read_settings
from fleetgw.domain.errors import ConfigurationError, Problem, Retryable
from fleetgw.domain.metrics import Kind, Metric
from fleetgw.domain.ports import RECEIPT, IReloadable, ITakesFurtherTypes, Outcome

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
"""The library reports that a subscriber begins to miss records, not their number."""

POLL_INTERVAL_S = 0.1
"""Longest wait of a client for its admission, and of an event for its log line."""

PATIENCE_S = 0.5
"""Time for slow subscribers to read half of ``high_water_bytes``, once these are held; then they are disconnected."""

LINGER_MS = 500
"""Longest wait at the end for subscribers to read the sent records."""

_NO_ROOM = Retryable("subscribers that read too slowly make the library hold high_water_bytes")


@implementer(IReloadable, ITakesFurtherTypes)
class ZmqSink(LifecycleSink):
    """Sends two frames per record: the topic ``<namespace>_<record type>``, and the payload.

    A record is delivered when the socket has taken it: a client that subscribes later, or reads too slowly, misses it.
    """

    def __init__(self, context: SinkContext) -> None:
        super().__init__(context)
        self._key_files = WatchedFiles(key_files(context.name, context.settings))
        self._settings = read_settings(context.name, context.settings)
        self._reactor = context.reactor
        self._log = context.log
        self._failures = FailureLog(context.log, "zmq_dispatch_error", context.reactor)
        self._published = PublishMetrics(context.metrics, "zmq", "Records that the socket took.", context.record_types)
        self._topics = ByRecordType(
            lambda record_type: context.destination(record_type).encode("utf-8", "surrogateescape"), context.record_types
        )
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
        self._polling = LoopingCall(self._poll)
        self._polling.clock = context.reactor

    def open(self) -> None:
        """Bind the socket.

        :raises ConfigurationError: it cannot be bound.
        """
        self._sockets: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        publisher = self._sockets.socket(zmq.PUB)
        publisher.setsockopt(zmq.SNDHWM, self._settings.high_water_mark)
        publisher.setsockopt(zmq.LINGER, LINGER_MS)
        publisher.setsockopt(zmq.IPV6, int(self._settings.needs_ipv6))
        # a send then fails when a subscriber would miss the record; by default PUB drops it silently
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
            fix = 'must be a free address of this machine, such as "tcp://127.0.0.1:5284"'
            raise ConfigurationError([Problem(f"{self.name}.addr", what, fix)]) from error
        self._socket = publisher
        self._polling.start(POLL_INTERVAL_S, now=False)
        self._log.info("zmq_bound", addr=self._settings.addr, curve=curve is not None)
        self.destination.ready()

    def deliver(self, dispatch: Dispatch) -> None:
        """Send records; the outcomes are known at once."""
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
                        self._send_to_full(publisher, topic, record.payload, record_type)
            except Exception as error:  # of any kind: it becomes the record's outcome
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
        """Send with a tracker that tells when the library has released the record. The memory is not copied."""
        frame = zmq.Frame(record.payload, track=True, copy=False)
        try:
            publisher.send(topic, zmq.SNDMORE | zmq.DONTWAIT)
            publisher.send(frame, zmq.DONTWAIT)
        except zmq.Again:
            self._send_to_full(publisher, topic, frame, record.record_type)
        self._memory.add(frame.tracker, self._unmarked_bytes)
        self._unmarked_bytes = 0

    def _no_room(self, record: Record) -> DeliveryError:
        self._unmarked_bytes -= len(record.payload) + RECORD_BYTES
        if self._full_since_s is None:
            self._full_since_s = self._reactor.seconds()
        self._published.failed(record.record_type)
        self._failures.add("full", str(_NO_ROOM), record_type=record.record_type)
        return _NO_ROOM

    def _release_memory(self, publisher: zmq.Socket[bytes], full_since_s: float) -> None:
        """Disconnect slow subscribers after ``PATIENCE_S``; large records are refused meanwhile."""
        publisher.getsockopt(zmq.EVENTS)  # makes the library release records for subscribers that are gone
        now_s = self._reactor.seconds()
        if self._memory.is_half_free():
            self._full_since_s = None
        elif now_s - full_since_s >= PATIENCE_S:
            self._full_since_s = now_s
            disconnected = self._connections.disconnect_slowest(self._endpoint)
            if not disconnected:
                self._rebind(publisher)  # the slow ones are unknown
            self._subscriber_full.add(max(disconnected, 1))
            self._failures.add("cut", "a subscriber reads too slowly, has been cut and misses records")

    def _send_to_full(
        self, publisher: zmq.Socket[bytes], topic: bytes, payload: bytes | zmq.Frame, record_type: str
    ) -> None:
        """Send although a subscriber's queue seems to be full; if it is, to the others only."""
        publisher.getsockopt(zmq.EVENTS)  # makes the library update its queues; a send alone rarely does
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
        outcome = Retryable(f"the socket did not take it: {error!r}")
        self._published.failed(record.record_type)
        self._failures.add(type(error).__name__, str(outcome))
        return outcome

    def close(self) -> Deferred[None] | None:
        """Close the socket; fires when subscribers have read the sent records, after half a second at the latest."""
        if self._socket is None:
            return None
        self._close()
        closed: Deferred[None] = Deferred()
        self._reactor.callInThread(self._terminate, closed)
        return closed

    def reload(self) -> Sequence[str]:
        """See ``IReloadable``. New allowed keys count for new connections; for a new key pair, all clients connect again.

        The library uses a socket's keys as they were when it was bound.
        """
        changed = self._key_files.changed()
        if not changed or self._socket is None or self._admission is None:
            return []
        try:
            self._settings = read_settings(self.name, self._context.settings)
        except ConfigurationError:
            self._key_files.report_again(changed)
            raise
        if self._settings.curve is not None and self._admission.use_keys(self._settings.curve, self._socket):
            self._rebind(self._socket)
        return [str(path) for path in changed]

    def _rebind(self, publisher: zmq.Socket[bytes]) -> None:
        """Unbind and bind again; subscribers lose their connections, and connect again."""
        publisher.unbind(self._endpoint)
        self._unbound = True
        self.destination.not_ready(f"{self._endpoint} is being bound again")
        self._try_to_bind(publisher)

    def _try_to_bind(self, publisher: zmq.Socket[bytes]) -> None:
        """Bind; while the library still releases the address, ``_poll`` tries again."""
        try:
            publisher.bind(self._endpoint)
        except zmq.ZMQError as error:
            self._failures.add("bind", f"{self._endpoint} cannot be bound again: {error.strerror}")
        else:
            self._unbound = False
            self.destination.ready()

    def _close(self) -> None:
        if self._polling.running:
            self._polling.stop()
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
        """Wait until the last bytes are sent; blocks, and runs in a thread."""
        self._sockets.term()
        self._reactor.callFromThread(closed.callback, None)

    def _poll(self) -> None:
        """Handle admissions, the monitor's events and slow subscribers: polled, as ZMQ's descriptors are edge-triggered."""
        if self._unbound and self._socket is not None:
            self._try_to_bind(self._socket)
        if self._admission is not None:
            self._admission.answer_requests()
        while self._monitor is not None and self._monitor.poll(0):
            event = recv_monitor_message(self._monitor)
            self._connections.note(event)
            if not self._settings.verbose:
                continue
            endpoint = event["endpoint"].decode("utf-8", "replace")
            self._log.info("zmq_socket_event", socket_event=str(zmq.Event(event["event"]).name).lower(), endpoint=endpoint)
        if self._full_since_s is not None and self._socket is not None and not self._unbound:
            self._release_memory(self._socket, self._full_since_s)
