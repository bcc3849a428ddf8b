"""The connection to the broker, as a state machine: connect, wait and connect again, drain, close.

===================  ==============================================================================================
State                Meaning
===================  ==============================================================================================
Idle                 before ``start``
Connecting           an attempt is under way, up to the broker's CONNACK
Open                 the broker has accepted the session
Waiting              pausing before the next attempt
ConnectingToDrain    as Connecting, after ``stop``: records wait for the session
Draining             as Open, after ``stop``: records wait for their acknowledgements
Closing              nothing is left to send; the session ends
Closed               no session, and there will be none
===================  ==============================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from attrs import define
from automat import TypeMachineBuilder

from fleetgw.adapters.sinks.mqtt.credentials import Credentials
from fleetgw.adapters.sinks.mqtt.one_protocol import OneProtocol
from fleetgw.adapters.sinks.mqtt.pauses import ReconnectPauses
from fleetgw.adapters.sinks.mqtt.session import BrokerLimits, MqttSession, SessionEnd
from fleetgw.adapters.sinks.support.failure_log import FailureLog
from fleetgw.domain.errors import FleetgwError
from fleetgw.domain.ports import NotReady, Readiness, Ready

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IDelayedCall, IProtocol, IStreamClientEndpoint
    from twisted.python.failure import Failure

    from fleetgw.adapters.sinks.mqtt.settings import MqttSettings
    from fleetgw.adapters.sinks.support.context import SinkContext

STOPPED = "the sink has stopped"

_READY = Ready()


class ConnectionOwner(Protocol):
    """Receives the events of the connection."""

    @property
    def has_records(self) -> bool:
        """Whether records are under way."""

    def connection_opened(self, session: MqttSession, limits: BrokerLimits) -> None:
        """The broker has accepted a session: send the records that wait."""

    def acknowledged(self, acknowledgements: list[tuple[int, int]]) -> None:
        """The broker has confirmed publishes, or refused them: packet identifiers and reason codes."""

    def connection_resumed(self) -> None:
        """The connection takes data again."""

    def connection_ended(self, end: SessionEnd) -> bool:
        """A session has ended, or an attempt to begin one has failed: records under way have to be offered again.

        :return: whether to connect again at once, to find out whether a record has ended the session.
        """

    def answer_settled(self) -> None:
        """Answer the dispatches that ``connection_ended`` has settled."""

    def connection_closed(self) -> None:
        """``stop`` is complete. Called once."""


@define(eq=False)
class _Core:
    """The state that all states share.

    :ivar session: of the attempt under way, or open; None when there is none.
    :ivar unreached: the last attempt did not reach the broker.
    """

    context: SinkContext
    credentials: Credentials
    owner: ConnectionOwner
    pauses: ReconnectPauses
    failures: FailureLog
    make_session: Callable[[], MqttSession]
    readiness: Readiness
    session: MqttSession | None = None
    attempt: Deferred[IProtocol] | None = None
    attempt_deadline: IDelayedCall | None = None
    records_wait: bool = False
    unreached: bool = False

    @property
    def broker(self) -> str:
        """The broker's address, for people."""
        return self.credentials.settings.address

    def read_credentials(self) -> None:
        try:
            files = self.credentials.reload()
        except FleetgwError as error:
            self.failures.add("credentials", str(error), broker=self.broker)
        else:
            if files:
                self.context.log.info("credentials_reloaded", dispatcher=self.context.name, files=[*files])

    def forget_session(self) -> None:
        self.cancel_attempt_deadline()
        self.session = self.attempt = None

    def cancel_attempt_deadline(self) -> None:
        if self.attempt_deadline is not None and self.attempt_deadline.active():
            self.attempt_deadline.cancel()
        self.attempt_deadline = None

    def end_session(self, reason: str, *, stalled: bool = False) -> None:
        if self.session is not None and self.session.transport is not None:
            self.session.end(reason, stalled=stalled)
        elif self.attempt is not None:
            self.attempt.cancel()

    def pause_s(self, end: SessionEnd, *, at_once: bool) -> float:
        self.unreached = end.lasted_s is None and not end.refused
        if end.lasted_s is None:
            return self.pauses.not_reached(records_wait=self.records_wait) if self.unreached else self.pauses.refused()
        if at_once:
            self.pauses.over_a_record()
            return 0.0
        return self.pauses.ended(end.lasted_s, by_broker=end.over_a_packet, taken_over=end.taken_over)

    def hint(self) -> str:
        client_id = self.credentials.settings.client_id
        if not self.pauses.contested or not client_id:
            return ""
        what = f"another client seems to use {self.context.name}.client_id {client_id!r} and takes the session over"
        return f"; {what}: give each gateway a client_id of its own, or leave it out"


class _Connection(Protocol):
    """The inputs of the machine."""

    def start(self) -> None:
        """Begin to connect."""

    def stop(self) -> None:
        """Close once nothing is under way: see ``drained``."""

    def records_wait(self) -> None:
        """Records were turned away: have no long pause go on."""

    def connect_now(self) -> None:
        """End the pause."""

    def drained(self) -> None:
        """Nothing is under way, and nothing will be: the sink stops."""

    def cut(self, end: SessionEnd) -> None:
        """End the session or the attempt at once."""

    def _connect(self) -> None:
        """The pause is over."""

    def _opened(self, session: MqttSession, limits: BrokerLimits) -> None:
        """The broker has accepted the session."""

    def _ended(self, end: SessionEnd) -> None:
        """The session has ended, or the attempt has failed."""


def _machine() -> Callable[[_Core], _Connection]:
    machine = TypeMachineBuilder(_Connection, _Core)

    def wait(c: _Connection, s: _Core, end: SessionEnd) -> IDelayedCall:
        s.forget_session()
        s.records_wait = s.records_wait or s.owner.has_records
        at_once = s.owner.connection_ended(end)
        pause_s = s.pause_s(end, at_once=at_once)
        s.readiness = NotReady(f"{s.broker}: {end.reason}{s.hint()}")
        return s.context.reactor.callLater(pause_s, c._connect)

    idle = machine.state("Idle")
    connecting = machine.state("Connecting")
    open_ = machine.state("Open")
    waiting = machine.state("Waiting", wait)
    connecting_to_drain = machine.state("ConnectingToDrain")
    draining = machine.state("Draining")
    closing = machine.state("Closing")
    closed = machine.state("Closed")

    def attempt(c: _Connection, s: _Core) -> None:
        s.read_credentials()
        settings = s.credentials.settings
        s.session = s.make_session()
        s.attempt_deadline = s.context.reactor.callLater(
            settings.connect_timeout_s, c.cut, SessionEnd(f"no answer within {settings.connect_timeout_s:g} s")
        )

        def failed(failure: Failure) -> None:
            c._ended(SessionEnd(f"no connection: {failure.getErrorMessage() or type(failure.value).__name__}"))

        s.attempt = s.credentials.endpoint.connect(OneProtocol(s.session))
        # as its result, the session would stay with the endpoint, which refers to this for ever
        s.attempt.addCallbacks(lambda _session: None, failed)

    @idle.upon(_Connection.start).to(connecting)
    def start(c: _Connection, s: _Core) -> None:
        s.readiness = NotReady(f"connecting to {s.broker}")
        attempt(c, s)

    @waiting.upon(_Connection._connect).to(connecting)
    def connect_again(c: _Connection, s: _Core, _retry: IDelayedCall) -> None:
        attempt(c, s)

    @connecting.upon(_Connection._opened).to(open_)
    def open_session(c: _Connection, s: _Core, session: MqttSession, limits: BrokerLimits) -> None:
        s.readiness = _READY
        begin_session(c, s, session, limits)

    @connecting_to_drain.upon(_Connection._opened).to(draining)
    def begin_session(_: _Connection, s: _Core, session: MqttSession, limits: BrokerLimits) -> None:
        s.cancel_attempt_deadline()
        s.records_wait = False
        s.context.log.info("mqtt_connected", broker=s.broker)
        s.owner.connection_opened(session, limits)

    for state in (connecting, open_):

        @state.upon(_Connection._ended).to(waiting)
        def lost(_: _Connection, s: _Core, end: SessionEnd) -> None:
            kind = "client_id_contested" if s.pauses.contested else "connection"
            s.failures.add(kind, f"{end.reason}{s.hint()}", broker=s.broker)
            s.owner.answer_settled()

    @waiting.upon(_Connection.records_wait).loop()
    def hurry(_: _Connection, s: _Core, retry: IDelayedCall) -> None:
        s.records_wait = True
        pause_s = s.pauses.while_records_wait_s()
        if s.unreached and retry.getTime() - s.context.reactor.seconds() > pause_s:
            retry.reset(pause_s)

    @waiting.upon(_Connection.connect_now).loop()
    def connect_now(_: _Connection, _core: _Core, retry: IDelayedCall) -> None:
        retry.reset(0)

    def stops(_: _Connection, s: _Core) -> None:
        s.readiness = NotReady("stopped")

    connecting.upon(_Connection.stop).to(connecting_to_drain)(stops)
    open_.upon(_Connection.stop).to(draining)(stops)

    @idle.upon(_Connection.stop).to(closed)
    def stop_before_start(c: _Connection, s: _Core) -> None:
        stops(c, s)
        s.owner.connection_closed()

    @waiting.upon(_Connection.stop).to(closed)
    def stop_while_waiting(c: _Connection, s: _Core, retry: IDelayedCall) -> None:
        retry.cancel()
        stop_before_start(c, s)

    @draining.upon(_Connection.drained).to(closing)
    def say_goodbye(_: _Connection, s: _Core) -> None:
        if s.session is not None:
            s.session.disconnect()

    @connecting_to_drain.upon(_Connection.drained).to(closing)
    def give_up_attempt(_: _Connection, s: _Core) -> None:
        s.end_session(STOPPED)

    for state in (connecting, open_, connecting_to_drain, draining, closing):

        @state.upon(_Connection.cut).loop()
        def cut(_: _Connection, s: _Core, end: SessionEnd) -> None:
            s.end_session(end.reason, stalled=end.stalled)

    for state in (connecting_to_drain, draining, closing):

        @state.upon(_Connection._ended).to(closed)
        def close(_: _Connection, s: _Core, end: SessionEnd) -> None:
            s.forget_session()
            s.owner.connection_ended(end)
            s.owner.answer_settled()
            s.owner.connection_closed()

    for state in (idle, connecting, open_, connecting_to_drain, draining, closing, closed):
        state.upon(_Connection.records_wait).loop().returns(None)
        state.upon(_Connection.connect_now).loop().returns(None)
    for state in (closing, closed):
        state.upon(_Connection.drained).loop().returns(None)
    closing.upon(_Connection._opened).loop().returns(None)
    closed.upon(_Connection.cut).loop().returns(None)
    waiting.upon(_Connection.cut, nodata=True).loop().returns(None)

    return machine.build()


_make_connection = _machine()


class BrokerConnection:
    """The sink's connection to its broker: one session after the other, until ``stop``.

    :param random: shortens the pauses between attempts to connect.
    """

    def __init__(
        self, context: SinkContext, endpoint: IStreamClientEndpoint | None, random: Random, owner: ConnectionOwner
    ) -> None:
        self._owner = owner
        credentials = Credentials(context, endpoint)
        self._core = _Core(
            context,
            credentials,
            owner,
            ReconnectPauses(credentials.settings.connect_retry_interval_s, random),
            FailureLog(context.log, "mqtt_connection_error", context.reactor),
            lambda: MqttSession(credentials.settings, self, context.reactor),
            NotReady("the MQTT sink is not running"),
        )
        self._machine = _make_connection(self._core)
        self.start = self._machine.start
        self.stop = self._machine.stop
        self.records_wait = self._machine.records_wait
        self.drained = self._machine.drained

    @property
    def readiness(self) -> Readiness:
        """Ready while the broker accepts records."""
        return self._core.readiness

    @property
    def is_down(self) -> bool:
        """Whether there is neither a session nor an attempt to begin one."""
        return self._core.session is None

    @property
    def settings(self) -> MqttSettings:
        """The settings as last read."""
        return self._core.credentials.settings

    def cut(self, reason: str, *, stalled: bool = False) -> None:
        """End the session or the attempt at once.

        :param stalled: a record was not confirmed in time.
        """
        self._machine.cut(SessionEnd(reason, stalled=stalled))

    def reload(self) -> Sequence[str]:
        """Read changed credential files again, and use them now where there is no session.

        :raises FleetgwError: a file cannot be used.
        """
        files = self._core.credentials.reload()
        if files:
            self._machine.connect_now()
        return files

    # As the owner of a session

    def session_opened(self, limits: BrokerLimits) -> None:
        """See ``SessionOwner``."""
        if self._core.session is not None:
            self._machine._opened(self._core.session, limits)

    def acknowledged(self, acknowledgements: list[tuple[int, int]]) -> None:
        """See ``SessionOwner``."""
        self._owner.acknowledged(acknowledgements)

    def session_resumed(self) -> None:
        """See ``SessionOwner``."""
        self._owner.connection_resumed()

    def session_ended(self, end: SessionEnd) -> None:
        """See ``SessionOwner``."""
        self._machine._ended(end)
