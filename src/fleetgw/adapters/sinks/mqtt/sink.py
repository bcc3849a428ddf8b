"""The ``mqtt`` sink: connects, connects again, and feeds the window of publishes."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import connectProtocol
from zope.interface import implementer

from fleetgw.adapters.delivery.failure_log import FailureLog
from fleetgw.adapters.delivery.numbers import PublishNumbers
from fleetgw.adapters.delivery.under_way import BatchUnderWay
from fleetgw.adapters.sinks.mqtt.connecting import broker_endpoint
from fleetgw.adapters.sinks.mqtt.messages import MessageWriter
from fleetgw.adapters.sinks.mqtt.session import MqttSession
from fleetgw.adapters.sinks.mqtt.settings import read_settings
from fleetgw.adapters.sinks.mqtt.window import PublishWindow
from fleetgw.domain.backoff import Backoff
from fleetgw.domain.errors import DeliveryError, NotConnected, Retryable
from fleetgw.domain.ports import IPromptDispatcher, NotReady, Outcome, Readiness, Ready

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint
    from twisted.python.failure import Failure

    from fleetgw.adapters.sinks.context import SinkContext
    from fleetgw.adapters.sinks.mqtt.session import BrokerLimits
    from fleetgw.domain.records import Record

FIRST_PAUSE_S = 0.5
"""Before the first attempt to connect again; doubled up to ``connect_retry_interval_ms``."""

PUBLISHES_PER_TURN = 2_000
"""So many are made at once before the reactor gets its turn."""

_NOT_RUNNING = NotConnected("the MQTT sink is not running")
_READY = Ready()


@implementer(IPromptDispatcher)
class MqttSink:
    """Publishes each record's messages; the record is delivered when the broker has acknowledged them all.

    With QoS 0 nothing is acknowledged: delivered means then that the connection has taken the messages.

    :param endpoint: the way to the broker; None takes the settings'.
    :param random: shortens the pauses between attempts to connect.
    """

    def __init__(
        self, context: SinkContext, endpoint: IStreamClientEndpoint | None = None, random: Random | None = None
    ) -> None:
        self.name = context.name
        settings = read_settings(context.name, context.settings)
        self._settings = settings
        self._clock = context.reactor
        self._log = context.log
        self._endpoint = endpoint or broker_endpoint(context.name, settings, context.reactor)
        self._random = random or Random()  # noqa: S311 - spreads reconnects, guards nothing
        self._broker = f"{settings.host}:{settings.port}"
        self._numbers = PublishNumbers(context.metrics, "mqtt", "Messages that the broker took.", context.record_types)
        self._record_failures = FailureLog(context.log, "mqtt_publish_error", context.reactor)
        self._session_failures = FailureLog(context.log, "mqtt_connection_error", context.reactor)
        self._window = PublishWindow(
            MessageWriter(settings.topic_base).messages,
            qos=settings.qos,
            retained=settings.retained,
            is_mqtt5=settings.is_mqtt5,
            packet_size_limit_bytes=settings.packet_size_limit_bytes,
            numbers=self._numbers,
            failed=self._record_failed,
        )
        self._backoff = Backoff(min(FIRST_PAUSE_S, settings.connect_retry_interval_s), settings.connect_retry_interval_s)
        self._pause_s = 0.0
        self._readiness: Readiness = NotReady(str(_NOT_RUNNING))
        self._running = False
        self._stopped: Deferred[None] | None = None
        self._session: MqttSession | None = None
        self._opened_at_s: float | None = None
        self._attempt: Deferred[MqttSession] | None = None
        self._retry: IDelayedCall | None = None
        self._attempt_deadline: IDelayedCall | None = None
        self._stop_deadline: IDelayedCall | None = None
        self._watch: IDelayedCall | None = None
        self._progress_at_s = 0.0
        self._pump_call: IDelayedCall | None = None
        self._hold: IDelayedCall | None = None

    # As a dispatcher

    def start(self) -> Deferred[None]:
        """Begin to connect; fires at once."""
        self._running = True
        self._readiness = NotReady(f"connecting to {self._broker}")
        self._connect()
        return succeed(None)

    def dispatch(self, batch: Sequence[Record]) -> Deferred[Sequence[Outcome]]:
        """Publish records. While connecting they wait; while pausing before the next attempt they fail at once."""
        if not self._running:
            return succeed([_NOT_RUNNING] * len(batch))
        if self._session is None:
            error = NotConnected(self._reason())
            for record in batch:
                self._record_failed(record, error)
            return succeed([error] * len(batch))
        if self._window.is_idle:
            self._progress_at_s = self._clock.seconds()
        under_way = BatchUnderWay(batch)
        self._window.add(under_way)
        self._pump()
        return under_way.answer

    def stop(self) -> Deferred[None]:
        """Wait for what is in flight, ``disconnect_timeout_ms`` at most, say goodbye and close."""
        self._running = False
        self._readiness = NotReady("stopped")
        self._stopped = Deferred(self._give_up)
        if self._session is None:
            self._finish()
        else:
            self._stop_deadline = self._clock.callLater(self._settings.disconnect_timeout_s, self._cut)
            self._leave_when_idle()
        return self._stopped

    def readiness(self) -> Readiness:
        """Ready while the broker has let us in."""
        return self._readiness

    # Connecting

    def _connect(self) -> None:
        self._retry = None
        self._session = MqttSession(self._settings, self, self._clock)
        self._attempt_deadline = self._clock.callLater(self._settings.connect_timeout_s, self._attempt_timed_out)
        self._attempt = connectProtocol(self._endpoint, self._session)
        self._attempt.addErrback(self._attempt_failed)

    def _attempt_failed(self, failure: Failure) -> None:
        reason = f"no connection: {failure.getErrorMessage() or type(failure.value).__name__}"
        self.session_ended(reason, over_a_packet=False)

    def _attempt_timed_out(self) -> None:
        self._attempt_deadline = None
        self._cut_session(f"no answer within {self._settings.connect_timeout_s:g} s")

    def _cut_session(self, reason: str) -> None:
        if self._session is not None and self._session.transport is not None:
            self._session.end(reason)
        elif self._attempt is not None:
            self._attempt.cancel()

    # As the owner of a session

    def session_opened(self, limits: BrokerLimits) -> None:
        """The broker has let us in: send what waits."""
        self._cancel_attempt_deadline()
        self._opened_at_s = self._progress_at_s = self._clock.seconds()
        self._window.begin(limits)
        if self._running:
            self._readiness = _READY
        self._log.info("mqtt_connected", broker=self._broker)
        self._pump()

    def acknowledged(self, acknowledgements: list[tuple[int, int]]) -> None:
        """There is room again."""
        if self._window.acknowledge(acknowledgements):
            self._progress_at_s = self._clock.seconds()
        self._pump()

    def session_resumed(self) -> None:
        """There is room again."""
        if not self._window.is_unanswered:
            self._progress_at_s = self._clock.seconds()
        self._pump()

    def session_ended(self, reason: str, *, over_a_packet: bool) -> None:
        """Whatever was under way may have arrived or not: it has to be offered again. Connect again after a pause.

        Without one where the broker may have ended it over a record: see ``caution``.
        """
        self._cancel_attempt_deadline()
        self._session = self._attempt = None
        opened_at_s, self._opened_at_s = self._opened_at_s, None
        error = NotConnected(f"{self._broker}: {reason}")
        by_broker = over_a_packet and opened_at_s is not None
        at_once = self._window.end(error, by_broker=by_broker, silent_s=self._clock.seconds() - self._progress_at_s)
        if self._running:
            self._readiness = NotReady(str(error))
            self._session_failures.add("connection", reason, broker=self._broker)
            # one that ends at once, as when two clients have the same id, is no success
            if opened_at_s is not None and self._clock.seconds() - opened_at_s > self._pause_s:
                self._backoff.succeeded()
            self._pause_s = 0.0 if at_once else self._backoff.failed(self._random.random())
            self._retry = self._clock.callLater(self._pause_s, self._connect)
        self._answer()
        if self._stopped is not None:
            self._finish()

    # Publishing

    def _pump(self) -> None:
        """Send what there is room for, answer what is settled, and see to it that somebody looks again."""
        session = self._session
        if self._opened_at_s is not None and session is not None and not session.paused:
            packets = self._window.next_packets(PUBLISHES_PER_TURN)
            if packets:
                session.write(packets)
            if self._window.has_room and not session.paused and self._pump_call is None:
                self._pump_call = self._clock.callLater(0, self._pump_again)
        if self._hold is None and self._window.holds_back:
            self._hold = self._clock.callLater(self._settings.publish_timeout_s / 2, self._hold_no_longer)
        if self._watch is None and not self._window.is_idle:
            self._watch = self._clock.callLater(self._settings.publish_timeout_s, self._look)
        self._answer()

    def _pump_again(self) -> None:
        self._pump_call = None
        self._pump()

    def _hold_no_longer(self) -> None:
        self._hold = None
        self._window.let_suspect_go()
        self._pump()

    def _answer(self) -> None:
        for batch in self._window.take_settled():
            batch.answer_now()
        self._leave_when_idle()

    def _look(self) -> None:
        """See whether the broker still confirms the oldest record under way: it has ``publish_timeout_ms`` for that.

        So a slow broker has its time, as long as it answers for one record after the other.
        """
        self._watch = None
        if self._window.is_idle:
            return
        timeout_s = self._settings.publish_timeout_s
        left_s = self._progress_at_s + timeout_s - self._clock.seconds()
        if left_s > 0:
            self._watch = self._clock.callLater(left_s, self._look)
        elif self._opened_at_s is None:
            self._window.give_up(NotConnected(f"no connection to {self._broker} within {timeout_s:g} s"))
            self._answer()
        elif self._window.give_up_overtaken(
            Retryable(f"no acknowledgement within {timeout_s:g} s, though for later records")
        ):
            self._progress_at_s = self._clock.seconds()
            self._pump()
        else:
            self._cut_session(f"no acknowledgement within {timeout_s:g} s")

    def _record_failed(self, record: Record, error: DeliveryError) -> None:
        self._numbers.failed(record.record_type)
        kind = type(error).__name__
        self._record_failures.add(kind, str(error), record_type=record.record_type, vin=record.vin)

    def _reason(self) -> str:
        return self._readiness.reason if isinstance(self._readiness, NotReady) else ""

    # Ending

    def _leave_when_idle(self) -> None:
        if self._stopped is not None and self._window.is_idle and self._session is not None:
            if self._opened_at_s is None:
                self._cut()
            else:
                self._opened_at_s = None
                self._session.disconnect()

    def _cut(self) -> None:
        """Wait no longer."""
        self._window.give_up(Retryable("the MQTT sink stopped before the broker answered"))
        self._opened_at_s = None
        for batch in self._window.take_settled():
            batch.answer_now()
        self._cut_session("the sink has stopped")

    def _give_up(self, _stopped: Deferred[None]) -> None:
        """Stopping was cancelled."""
        self._cut()
        self._finish()

    def _finish(self) -> None:
        for call in (self._retry, self._watch, self._stop_deadline, self._pump_call, self._hold):
            if call is not None and call.active():
                call.cancel()
        self._retry = self._watch = self._stop_deadline = self._pump_call = self._hold = None
        if self._stopped is not None and not self._stopped.called:
            self._stopped.callback(None)

    def _cancel_attempt_deadline(self) -> None:
        if self._attempt_deadline is not None:
            self._attempt_deadline.cancel()
            self._attempt_deadline = None
