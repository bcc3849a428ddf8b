"""The ``mqtt`` sink: feeds the window of publishes, and watches the broker's progress with them."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from zope.interface import implementer

from fleetgw.adapters.sinks.mqtt.connection import BrokerConnection
from fleetgw.adapters.sinks.mqtt.connection_states import STOPPED
from fleetgw.adapters.sinks.mqtt.messages import MessageWriter
from fleetgw.adapters.sinks.mqtt.progress import Progress
from fleetgw.adapters.sinks.mqtt.quarantine import Quarantine
from fleetgw.adapters.sinks.mqtt.session_events import EndCause, SessionEnd
from fleetgw.adapters.sinks.mqtt.window import PublishWindow
from fleetgw.adapters.sinks.support.failure_log import FailureLog
from fleetgw.adapters.sinks.support.lifecycle_sink import LifecycleSink
from fleetgw.adapters.sinks.support.publish_metrics import PublishMetrics
from fleetgw.domain.errors import DeliveryError, NotConnected, Retryable
from fleetgw.domain.ports import IHoldsCopies, IPromptDispatcher, IReloadable, ITakesFurtherTypes, NotReady

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint

    from fleetgw.adapters.sinks.mqtt.session import MqttSession
    from fleetgw.adapters.sinks.mqtt.session_events import BrokerLimits
    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.adapters.sinks.support.dispatch import Dispatch
    from fleetgw.domain.records import Record

PUBLISHES_PER_TURN = 2_000
"""Publishes written in one turn of the reactor."""

CHECKS_PER_TIMEOUT = 4
"""Number of checks for progress within ``publish_timeout_ms``."""


@implementer(IPromptDispatcher, IReloadable, IHoldsCopies, ITakesFurtherTypes)
class MqttSink(LifecycleSink):
    """Publishes each record's messages; the record is delivered when the broker has acknowledged them all.

    With QoS 0 nothing is acknowledged: delivered means that the connection has taken the messages.

    :param endpoint: connects to the broker, for tests; None connects as the settings say.
    :param random: shortens the pauses between attempts to connect.
    """

    memory_weight = 1.0
    """Messages are made when the connection has room for them: until their acknowledgement only the records are kept."""

    def __init__(
        self, context: SinkContext, endpoint: IStreamClientEndpoint | None = None, random: Random | None = None
    ) -> None:
        super().__init__(context)
        self._clock = context.reactor
        random = random or Random()  # noqa: S311 - spreads reconnects, guards nothing
        self._connection = BrokerConnection(context, self.destination, endpoint, random, self)
        settings = self._connection.settings
        self._published = PublishMetrics(context.metrics, "mqtt", "Messages that the broker took.", context.record_types)
        self._failures = FailureLog(context.log, "mqtt_publish_error", context.reactor)
        self._window = PublishWindow(
            MessageWriter(settings.topic_base).messages,
            qos=settings.qos,
            retained=settings.retained,
            is_mqtt5=settings.is_mqtt5,
            packet_size_limit_bytes=settings.packet_size_limit_bytes,
            metrics=self._published,
            failed=self._record_failed,
            quarantine=Quarantine(context.reactor.seconds),
        )
        self._progress = Progress(context.reactor.seconds)
        self._session: MqttSession | None = None  # while it is open
        self._connection_closed: Deferred[None] = Deferred()
        self._stop_deadline: IDelayedCall | None = None
        self._next_check: IDelayedCall | None = None
        self._next_pump: IDelayedCall | None = None
        self._suspect_release: IDelayedCall | None = None

    # As a sink

    def open(self) -> None:
        """Begin to connect."""
        self._connection.start()

    def deliver(self, dispatch: Dispatch) -> None:
        """Publish records. While connecting they wait; while pausing before the next attempt they fail at once."""
        if self._connection.is_down:
            self._connection.records_wait()
            self.settle_all(dispatch, [self._turned_away(record) for record in dispatch.batch])
            return
        if self._window.is_idle:
            self._progress.answered()
        self._window.add(dispatch)
        self._pump()

    def stopping(self) -> None:
        """Wait for the records in flight and the end of the session, ``disconnect_timeout_ms`` at most."""
        self._stop_deadline = self._clock.callLater(self._connection.settings.disconnect_timeout_s, self.abandon)
        self._connection.stop()

    def abandon(self) -> None:
        """Give all records up, and cut the connection."""
        self._session = None
        self._cancel_timers()
        self._window.give_up(Retryable("the MQTT sink stopped before the broker answered"))
        self._connection.cut(SessionEnd(STOPPED))
        self.answer_settled()

    def close(self) -> Deferred[None]:
        """End the session; fires once the connection is closed."""
        self._session = None
        self._connection.drained()
        return self._connection_closed

    def reload(self) -> Sequence[str]:
        """Read changed credential files again; where there is no session, connect with them at once."""
        return self._connection.reload()

    # As the owner of the connection

    @property
    def has_records(self) -> bool:
        """See ``ConnectionOwner``."""
        return not self._window.is_idle

    def connection_opened(self, session: MqttSession, limits: BrokerLimits) -> None:
        """See ``ConnectionOwner``."""
        self._session = session
        self._progress.session_opened()
        self._window.begin(limits)
        self._pump()

    def acknowledged(self, acknowledgements: list[tuple[int, int]]) -> None:
        """See ``ConnectionOwner``."""
        if self._window.acknowledge(acknowledgements):
            self._progress.answered()
        self._pump()

    def connection_resumed(self) -> None:
        """See ``ConnectionOwner``."""
        if not self._window.is_unanswered:
            self._progress.answered()
        self._pump()

    def connection_ended(self, end: SessionEnd) -> bool:
        """See ``ConnectionOwner``. Records in flight may have arrived or not."""
        self._session = None
        had_session = end.lasted_s is not None
        return self._window.end(
            NotConnected(f"{self._connection.settings.address}: {end.reason}"),
            by_broker=end.cause is EndCause.BY_BROKER and had_session,
            silent_s=self._progress.silent_s,
            stalled=end.cause is EndCause.STALLED and had_session,
        )

    def connection_closed(self) -> None:
        """See ``ConnectionOwner``."""
        self._cancel_timers()
        self._connection_closed.callback(None)

    def answer_settled(self) -> None:
        """See ``ConnectionOwner``."""
        for dispatch in self._window.take_settled():
            self.finish(dispatch)

    # Publishing

    def _pump(self) -> None:
        """Write publishes as there is room, answer settled dispatches, and schedule the next step."""
        session = self._session
        if session is not None and not session.paused:
            packets = self._window.next_packets(PUBLISHES_PER_TURN, session.written_bytes)
            if packets:
                session.write(packets)
            if self._window.has_room and not session.paused and self._next_pump is None:
                self._next_pump = self._clock.callLater(0, self._pump_again)
        publish_timeout_s = self._connection.settings.publish_timeout_s
        if self._suspect_release is None and self._window.holds_back:
            self._suspect_release = self._clock.callLater(publish_timeout_s / 2, self._release_suspect)
        if self._next_check is None and not self._window.is_idle:
            self._next_check = self._clock.callLater(publish_timeout_s / CHECKS_PER_TIMEOUT, self._check_progress)
        self.answer_settled()

    def _pump_again(self) -> None:
        self._next_pump = None
        self._pump()

    def _release_suspect(self) -> None:
        self._suspect_release = None
        self._window.release_suspect()
        self._pump()

    def _check_progress(self) -> None:
        """Give the oldest record up that has made no progress for ``publish_timeout_ms`` since its bytes have left.

        A slow broker or link is left alone as long as it confirms one record after the other.
        """
        self._next_check = None
        if self._window.is_idle:
            return
        settings, session = self._connection.settings, self._session
        if session is not None:
            left_bytes = session.left_bytes()
            self._progress.saw_bytes_leave(left_bytes, of_oldest=self._window.is_leaving(left_bytes))
        timeout_s = settings.publish_timeout_s + self._window.extra_time_s()
        left_s = timeout_s - self._progress.silent_s
        if left_s > 0:
            delay_s = min(left_s, settings.publish_timeout_s / CHECKS_PER_TIMEOUT)
            self._next_check = self._clock.callLater(delay_s, self._check_progress)
        elif session is None:
            self._window.give_up(NotConnected(f"no connection to {settings.address} within {timeout_s:g} s"))
            self.answer_settled()
        elif self._window.give_up_overtaken(
            Retryable(f"no acknowledgement within {timeout_s:g} s, though for later records")
        ):
            self._progress.answered()
            self._pump()
        else:
            cause = EndCause.STALLED if self._window.is_unanswered else EndCause.UNKNOWN
            self._connection.cut(SessionEnd(f"no acknowledgement within {timeout_s:g} s", cause))

    def _turned_away(self, record: Record) -> NotConnected:
        readiness = self.readiness()
        error = NotConnected(readiness.reason if isinstance(readiness, NotReady) else "")
        self._record_failed(record, error)
        return error

    def _record_failed(self, record: Record, error: DeliveryError) -> None:
        self._published.failed(record.record_type)
        kind = type(error).__name__
        self._failures.add(kind, str(error), record_type=record.record_type, vin=record.vin)

    def _cancel_timers(self) -> None:
        for call in (self._next_check, self._stop_deadline, self._next_pump, self._suspect_release):
            if call is not None and call.active():
                call.cancel()
        self._next_check = self._stop_deadline = self._next_pump = self._suspect_release = None
