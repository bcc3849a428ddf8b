"""The ``mqtt`` sink: connects, connects again, and feeds the window of publishes."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from fleetgw.adapters.sinks.mqtt.credentials import Credentials
from fleetgw.adapters.sinks.mqtt.messages import MessageWriter
from fleetgw.adapters.sinks.mqtt.one_protocol import OneProtocol
from fleetgw.adapters.sinks.mqtt.pauses import ReconnectPauses
from fleetgw.adapters.sinks.mqtt.quarantine import Quarantine
from fleetgw.adapters.sinks.mqtt.session import MqttSession, SessionEnd
from fleetgw.adapters.sinks.mqtt.window import PublishWindow
from fleetgw.adapters.sinks.support.failure_log import FailureLog
from fleetgw.adapters.sinks.support.numbers import PublishNumbers
from fleetgw.adapters.sinks.support.under_way import BatchUnderWay
from fleetgw.domain.errors import DeliveryError, FleetgwError, NotConnected, Retryable
from fleetgw.domain.ports import IHoldsCopies, IPromptDispatcher, IReloadable, NotReady, Outcome, Readiness, Ready

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.interfaces import IDelayedCall, IProtocol, IStreamClientEndpoint
    from twisted.python.failure import Failure

    from fleetgw.adapters.sinks.mqtt.session import BrokerLimits
    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.domain.records import Record

PUBLISHES_PER_TURN = 2_000
"""So many are made at once before the reactor gets its turn."""

BYTES_ALONE_S = 60.0
"""So long bytes that leave count as progress without an acknowledgement: a link that trickles must not stop all for ever."""

LOOKS = 4
"""Within the time that the broker has for an acknowledgement: at each, bytes that have left since the last one count."""

_NOT_RUNNING = NotConnected("the MQTT sink is not running")
_READY = Ready()


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
        self._credentials = Credentials(context, endpoint)
        settings = self._settings = self._credentials.settings
        self._clock = context.reactor
        self._log = context.log
        self._broker = settings.address
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
            quarantine=Quarantine(context.reactor.seconds),
        )
        random = random or Random()  # noqa: S311 - spreads reconnects, guards nothing
        self._pauses = ReconnectPauses(settings.connect_retry_interval_s, random)
        self._records_wait = False
        self._unreached = False
        self._readiness: Readiness = NotReady(str(_NOT_RUNNING))
        self._running = False
        self._stopped: Deferred[None] | None = None
        self._session: MqttSession | None = None
        self._opened_at_s: float | None = None
        self._attempt: Deferred[IProtocol] | None = None
        self._retry: IDelayedCall | None = None
        self._attempt_deadline: IDelayedCall | None = None
        self._stop_deadline: IDelayedCall | None = None
        self._watch: IDelayedCall | None = None
        self._progress_at_s = 0.0
        self._answered_at_s = 0.0
        self._left_bytes = 0
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
            self._hurry()
            error = NotConnected(self._reason())
            for record in batch:
                self._record_failed(record, error)
            return succeed([error] * len(batch))
        if self._window.is_idle:
            self._progress()
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

    def reload(self) -> Sequence[str]:
        """Read the credentials' files again that have changed; where there is no session, try them at once."""
        files = self._credentials.reload()
        if files and self._retry is not None and self._retry.active():
            self._retry.reset(0)
        return files

    # Connecting

    def _hurry(self) -> None:
        """Records wait: have no long pause go on."""
        self._records_wait = True
        pause_s = self._pauses.while_records_wait_s()
        if self._unreached and self._retry is not None and self._retry.getTime() - self._clock.seconds() > pause_s:
            self._retry.reset(pause_s)

    def _read_credentials(self) -> None:
        try:
            files = self._credentials.reload()
        except FleetgwError as error:
            self._session_failures.add("credentials", str(error), broker=self._broker)
        else:
            if files:
                self._log.info("credentials_reloaded", dispatcher=self.name, files=[*files])
        self._settings = self._credentials.settings

    def _connect(self) -> None:
        self._retry = None
        self._read_credentials()
        self._session = MqttSession(self._settings, self, self._clock)
        self._attempt_deadline = self._clock.callLater(self._settings.connect_timeout_s, self._attempt_timed_out)
        self._attempt = self._credentials.endpoint.connect(OneProtocol(self._session))
        # as its result, the session would stay with the endpoint, which refers to this for ever
        self._attempt.addCallbacks(lambda _session: None, self._attempt_failed)

    def _attempt_failed(self, failure: Failure) -> None:
        reason = f"no connection: {failure.getErrorMessage() or type(failure.value).__name__}"
        self.session_ended(SessionEnd(reason))

    def _attempt_timed_out(self) -> None:
        self._attempt_deadline = None
        self._cut_session(f"no answer within {self._settings.connect_timeout_s:g} s")

    def _cut_session(self, reason: str, *, stalled: bool = False) -> None:
        if self._session is not None and self._session.transport is not None:
            self._session.end(reason, stalled=stalled)
        elif self._attempt is not None:
            self._attempt.cancel()

    # As the owner of a session

    def session_opened(self, limits: BrokerLimits) -> None:
        """The broker has let us in: send what waits."""
        self._cancel_attempt_deadline()
        self._opened_at_s = self._clock.seconds()
        self._records_wait = False
        self._left_bytes = 0
        self._progress()
        self._window.begin(limits)
        if self._running:
            self._readiness = _READY
        self._log.info("mqtt_connected", broker=self._broker)
        self._pump()

    def acknowledged(self, acknowledgements: list[tuple[int, int]]) -> None:
        """There is room again."""
        if self._window.acknowledge(acknowledgements):
            self._progress()
        self._pump()

    def session_resumed(self) -> None:
        """There is room again."""
        if not self._window.is_unanswered:
            self._progress()
        self._pump()

    def session_ended(self, end: SessionEnd) -> None:
        """Whatever was under way may have arrived or not: it has to be offered again. Connect again after a pause.

        Without one where the broker may have ended it over a record: see ``caution``.
        """
        self._cancel_attempt_deadline()
        self._session = self._attempt = None
        opened_at_s, self._opened_at_s = self._opened_at_s, None
        now_s = self._clock.seconds()
        had_records = not self._window.is_idle
        by_broker = end.over_a_packet and opened_at_s is not None
        error = NotConnected(f"{self._broker}: {end.reason}")
        at_once = self._window.end(
            error, by_broker=by_broker, silent_s=now_s - self._progress_at_s, stalled=end.stalled and opened_at_s is not None
        )
        if self._running:
            self._records_wait = self._records_wait or had_records
            pause_s = self._pause_s(end, None if opened_at_s is None else now_s - opened_at_s, at_once=at_once)
            reason = f"{end.reason}{self._hint()}"
            self._readiness = NotReady(f"{self._broker}: {reason}")
            kind = "client_id_contested" if self._pauses.contested else "connection"
            self._session_failures.add(kind, reason, broker=self._broker)
            self._retry = self._clock.callLater(pause_s, self._connect)
        self._answer()
        if self._stopped is not None:
            self._finish()

    def _pause_s(self, end: SessionEnd, lasted_s: float | None, *, at_once: bool) -> float:
        self._unreached = lasted_s is None and not end.refused
        if lasted_s is None:
            if self._unreached:
                return self._pauses.not_reached(records_wait=self._records_wait)
            return self._pauses.refused()
        if at_once:
            self._pauses.over_a_record()
            return 0.0
        return self._pauses.ended(lasted_s, by_broker=end.over_a_packet, taken_over=end.taken_over)

    def _hint(self) -> str:
        if not self._pauses.contested or not self._settings.client_id:
            return ""
        what = f"another client seems to use {self.name}.client_id {self._settings.client_id!r} and takes the session over"
        return f"; {what}: give each gateway a client_id of its own, or leave it out"

    # Publishing

    def _pump(self) -> None:
        """Send what there is room for, answer what is settled, and see to it that somebody looks again."""
        session = self._session
        if self._opened_at_s is not None and session is not None and not session.paused:
            packets = self._window.next_packets(PUBLISHES_PER_TURN, session.written_bytes)
            if packets:
                session.write(packets)
            if self._window.has_room and not session.paused and self._pump_call is None:
                self._pump_call = self._clock.callLater(0, self._pump_again)
        if self._hold is None and self._window.holds_back:
            self._hold = self._clock.callLater(self._settings.publish_timeout_s / 2, self._hold_no_longer)
        if self._watch is None and not self._window.is_idle:
            self._watch = self._clock.callLater(self._settings.publish_timeout_s / LOOKS, self._look)
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

    def _progress(self) -> None:
        """The broker has answered, or has nothing to answer."""
        self._progress_at_s = self._answered_at_s = self._clock.seconds()

    def _see_bytes_leave(self) -> None:
        """While some of the oldest record is still to be sent, bytes that leave are progress."""
        session, now_s = self._session, self._clock.seconds()
        if session is None or self._opened_at_s is None:
            return
        left_bytes = session.left_bytes()
        moved, self._left_bytes = left_bytes > self._left_bytes, left_bytes
        if moved and self._window.is_leaving(left_bytes) and now_s - self._answered_at_s < BYTES_ALONE_S:
            self._progress_at_s = now_s

    def _look(self) -> None:
        """See whether the oldest record under way gets on: it has ``publish_timeout_ms``, from when its bytes have left.

        So a slow broker or link has its time, as long as it answers for one record after the other.
        """
        self._watch = None
        if self._window.is_idle:
            return
        self._see_bytes_leave()
        timeout_s = self._settings.publish_timeout_s + self._window.extra_time_s()
        left_s = self._progress_at_s + timeout_s - self._clock.seconds()
        if left_s > 0:
            self._watch = self._clock.callLater(min(left_s, self._settings.publish_timeout_s / LOOKS), self._look)
        elif self._opened_at_s is None:
            self._window.give_up(NotConnected(f"no connection to {self._broker} within {timeout_s:g} s"))
            self._answer()
        elif self._window.give_up_overtaken(
            Retryable(f"no acknowledgement within {timeout_s:g} s, though for later records")
        ):
            self._progress()
            self._pump()
        else:
            self._cut_session(f"no acknowledgement within {timeout_s:g} s", stalled=self._window.is_unanswered)

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
