"""The ``mqtt`` sink: feeds the window of publishes, and watches that the broker gets on with them."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from fleetgw.adapters.sinks.mqtt.connection_states import STOPPED, BrokerConnection
from fleetgw.adapters.sinks.mqtt.messages import MessageWriter
from fleetgw.adapters.sinks.mqtt.progress import Progress
from fleetgw.adapters.sinks.mqtt.quarantine import Quarantine
from fleetgw.adapters.sinks.mqtt.window import PublishWindow
from fleetgw.adapters.sinks.support.dispatch import Dispatch
from fleetgw.adapters.sinks.support.failure_log import FailureLog
from fleetgw.adapters.sinks.support.numbers import PublishNumbers
from fleetgw.domain.errors import DeliveryError, NotConnected, Retryable
from fleetgw.domain.ports import IHoldsCopies, IPromptDispatcher, IReloadable, NotReady, Outcome, Readiness

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint

    from fleetgw.adapters.sinks.mqtt.session import BrokerLimits, MqttSession, SessionEnd
    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.domain.records import Record

PUBLISHES_PER_TURN = 2_000
"""So many are made at once before the reactor gets its turn."""

LOOKS = 4
"""Looks within the time that the broker has for an acknowledgement: bytes that have left since the last look count."""

_NOT_RUNNING = NotConnected("the MQTT sink is not running")


@implementer(IPromptDispatcher, IReloadable, IHoldsCopies)
class MqttSink:
    """Publishes each record's messages; the record is delivered when the broker has acknowledged them all.

    With QoS 0 nothing is acknowledged: delivered means then that the connection has taken the messages.

    :param endpoint: the way to the broker; None takes the settings'.
    :param random: shortens the pauses between attempts to connect.
    """

    memory_weight = 1.0
    """Messages are made when the connection has room for them: what waits or is in flight is the record alone."""

    def __init__(
        self, context: SinkContext, endpoint: IStreamClientEndpoint | None = None, random: Random | None = None
    ) -> None:
        self.name = context.name
        self._clock = context.reactor
        random = random or Random()  # noqa: S311 - spreads reconnects, guards nothing
        self._connection = BrokerConnection(context, endpoint, random, self)
        settings = self._connection.settings
        self._numbers = PublishNumbers(context.metrics, "mqtt", "Messages that the broker took.", context.record_types)
        self._failures = FailureLog(context.log, "mqtt_publish_error", context.reactor)
        self._window = PublishWindow(
            MessageWriter(settings.topic_base).messages,
            qos=settings.qos,
            retained=settings.retained,
            is_mqtt5=settings.is_mqtt5,
            packet_size_limit_bytes=settings.packet_size_limit_bytes,
            numbers=self._numbers,
            failed=self._record_failed,
            quarantine=Quarantine(context.reactor.seconds),
        )
        self._progress = Progress(context.reactor.seconds)
        self._session: MqttSession | None = None  # while it is open
        self._stopped: Deferred[None] | None = None
        self._stop_deadline: IDelayedCall | None = None
        self._watch: IDelayedCall | None = None
        self._pump_call: IDelayedCall | None = None
        self._hold: IDelayedCall | None = None

    # As a dispatcher

    def start(self) -> Deferred[None]:
        """Begin to connect; fires at once."""
        self._connection.start()
        return succeed(None)

    def dispatch(self, batch: Sequence[Record]) -> Deferred[Sequence[Outcome]]:
        """Publish records. While connecting they wait; while pausing before the next attempt they fail at once."""
        if self._stopped is not None:
            return succeed([_NOT_RUNNING] * len(batch))
        if self._connection.is_down:
            self._connection.records_wait()
            return succeed([self._turned_away(record) for record in batch])
        if self._window.is_idle:
            self._progress.answered()
        under_way = Dispatch(batch)
        self._window.add(under_way)
        self._pump()
        return under_way.answer

    def stop(self) -> Deferred[None]:
        """Wait for what is in flight, ``disconnect_timeout_ms`` at most, say goodbye and close."""
        stopped = self._stopped = Deferred(self._give_up)
        self._stop_deadline = self._clock.callLater(self._connection.settings.disconnect_timeout_s, self._abandon)
        self._connection.stop()
        self._leave_when_idle()
        return stopped

    def readiness(self) -> Readiness:
        """Ready while the broker accepts records."""
        return self._connection.readiness

    def reload(self) -> Sequence[str]:
        """Read the credentials' files again that have changed; where there is no session, try them at once."""
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
        """See ``ConnectionOwner``. Records under way may have arrived or not."""
        self._session = None
        had_session = end.lasted_s is not None
        return self._window.end(
            NotConnected(f"{self._connection.settings.address}: {end.reason}"),
            by_broker=end.over_a_packet and had_session,
            silent_s=self._progress.silent_s,
            stalled=end.stalled and had_session,
        )

    def connection_closed(self) -> None:
        """See ``ConnectionOwner``."""
        for call in (self._watch, self._stop_deadline, self._pump_call, self._hold):
            if call is not None and call.active():
                call.cancel()
        self._watch = self._stop_deadline = self._pump_call = self._hold = None
        if self._stopped is not None and not self._stopped.called:
            self._stopped.callback(None)

    # Publishing

    def _pump(self) -> None:
        """Send what there is room for, answer what is settled, and see to it that somebody looks again."""
        session = self._session
        if session is not None and not session.paused:
            packets = self._window.next_packets(PUBLISHES_PER_TURN, session.written_bytes)
            if packets:
                session.write(packets)
            if self._window.has_room and not session.paused and self._pump_call is None:
                self._pump_call = self._clock.callLater(0, self._pump_again)
        publish_timeout_s = self._connection.settings.publish_timeout_s
        if self._hold is None and self._window.holds_back:
            self._hold = self._clock.callLater(publish_timeout_s / 2, self._hold_no_longer)
        if self._watch is None and not self._window.is_idle:
            self._watch = self._clock.callLater(publish_timeout_s / LOOKS, self._look)
        self.answer_settled()

    def _pump_again(self) -> None:
        self._pump_call = None
        self._pump()

    def _hold_no_longer(self) -> None:
        self._hold = None
        self._window.let_suspect_go()
        self._pump()

    def answer_settled(self) -> None:
        """Answer the dispatches whose every record has an outcome."""
        for batch in self._window.take_settled():
            batch.answer_now()
        self._leave_when_idle()

    def _look(self) -> None:
        """See whether the oldest record under way gets on: it has ``publish_timeout_ms``, from when its bytes have left.

        So a slow broker or link has its time, as long as it answers for one record after the other.
        """
        self._watch = None
        if self._window.is_idle:
            return
        settings, session = self._connection.settings, self._session
        if session is not None:
            left_bytes = session.left_bytes()
            self._progress.saw_bytes_leave(left_bytes, of_oldest=self._window.is_leaving(left_bytes))
        timeout_s = settings.publish_timeout_s + self._window.extra_time_s()
        left_s = timeout_s - self._progress.silent_s
        if left_s > 0:
            self._watch = self._clock.callLater(min(left_s, settings.publish_timeout_s / LOOKS), self._look)
        elif session is None:
            self._window.give_up(NotConnected(f"no connection to {settings.address} within {timeout_s:g} s"))
            self.answer_settled()
        elif self._window.give_up_overtaken(
            Retryable(f"no acknowledgement within {timeout_s:g} s, though for later records")
        ):
            self._progress.answered()
            self._pump()
        else:
            self._connection.cut(f"no acknowledgement within {timeout_s:g} s", stalled=self._window.is_unanswered)

    def _turned_away(self, record: Record) -> NotConnected:
        readiness = self._connection.readiness
        error = NotConnected(readiness.reason if isinstance(readiness, NotReady) else "")
        self._record_failed(record, error)
        return error

    def _record_failed(self, record: Record, error: DeliveryError) -> None:
        self._numbers.failed(record.record_type)
        kind = type(error).__name__
        self._failures.add(kind, str(error), record_type=record.record_type, vin=record.vin)

    # Ending

    def _leave_when_idle(self) -> None:
        if self._stopped is not None and self._window.is_idle:
            self._session = None
            self._connection.drained()

    def _abandon(self) -> None:
        """Wait no longer."""
        self._session = None
        self._window.give_up(Retryable("the MQTT sink stopped before the broker answered"))
        for batch in self._window.take_settled():
            batch.answer_now()
        self._connection.cut(STOPPED)

    def _give_up(self, _stopped: Deferred[None]) -> None:
        """Stopping was cancelled."""
        self._abandon()
        self.connection_closed()
