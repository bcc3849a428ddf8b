"""The states of the connection to the broker: connect, wait and connect again, drain, close.

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

from fleetgw.adapters.sinks.mqtt.one_protocol import OneProtocol
from fleetgw.adapters.sinks.mqtt.session import MqttSession  # noqa: TC001  Automat reads the annotations of inputs
from fleetgw.adapters.sinks.mqtt.session_events import BrokerLimits, EndCause, SessionEnd
from fleetgw.domain.errors import FleetgwError

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IDelayedCall, IProtocol
    from twisted.python.failure import Failure

    from fleetgw.adapters.sinks.mqtt.credentials import Credentials
    from fleetgw.adapters.sinks.mqtt.pauses import ReconnectPauses
    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.adapters.sinks.support.destination import Destination
    from fleetgw.adapters.sinks.support.failure_log import FailureLog

STOPPED = "the sink has stopped"


class ConnectionOwner(Protocol):
    """Receives the events of the connection."""

    @property
    def has_records(self) -> bool:
        """Whether records are waiting or in flight."""

    def connection_opened(self, session: MqttSession, limits: BrokerLimits) -> None:
        """The broker has accepted a session: send the records that wait."""

    def acknowledged(self, acknowledgements: list[tuple[int, int]]) -> None:
        """The broker has confirmed publishes, or refused them: packet identifiers and reason codes."""

    def connection_resumed(self) -> None:
        """The connection takes data again."""

    def connection_ended(self, end: SessionEnd) -> bool:
        """A session has ended, or an attempt to begin one has failed: settle all records, without answering yet.

        :return: whether to connect again at once, to find out whether a record has ended the session.
        """

    def answer_settled(self) -> None:
        """Answer the dispatches that ``connection_ended`` has settled; the answers may call anything."""

    def connection_closed(self) -> None:
        """``stop`` is complete. Called once."""


@define(eq=False)
class ConnectionCore:
    """The data that all states share.

    :ivar destination: receives each change of the broker's readiness.
    :ivar session: the session that is open or being opened; None when there is none.
    :ivar records_wait: records were turned away or given up since the last session.
    :ivar unreached: the last attempt did not reach the broker.
    """

    context: SinkContext
    destination: Destination
    credentials: Credentials
    owner: ConnectionOwner
    pauses: ReconnectPauses
    failures: FailureLog
    make_session: Callable[[], MqttSession]
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
        """Read changed credential files again; a file that cannot be used is logged."""
        try:
            files = self.credentials.reload()
        except FleetgwError as error:
            self.failures.add("credentials", str(error), broker=self.broker)
        else:
            if files:
                self.context.log.info("credentials_reloaded", dispatcher=self.context.name, files=[*files])

    def forget_session(self) -> None:
        """Note that there is neither a session nor an attempt."""
        self.cancel_attempt_deadline()
        self.session = self.attempt = None

    def cancel_attempt_deadline(self) -> None:
        """The attempt has succeeded or ended."""
        if self.attempt_deadline is not None and self.attempt_deadline.active():
            self.attempt_deadline.cancel()
        self.attempt_deadline = None

    def end_session(self, end: SessionEnd) -> None:
        """Cut the session, or cancel the attempt."""
        if self.session is not None and self.session.transport is not None:
            self.session.cut(end)
        elif self.attempt is not None:
            self.attempt.cancel()

    def pause_s(self, end: SessionEnd, *, at_once: bool) -> float:
        """The pause before the next attempt, seconds.

        :param at_once: connect again at once, to find out whether a record has ended the session.
        """
        self.unreached = end.lasted_s is None and end.cause is not EndCause.REFUSED
        if end.lasted_s is None:
            return self.pauses.not_reached(records_wait=self.records_wait) if self.unreached else self.pauses.refused()
        if at_once:
            self.pauses.over_a_record()
            return 0.0
        by_broker, taken_over = end.cause is EndCause.BY_BROKER, end.cause is EndCause.TAKEN_OVER
        return self.pauses.ended(end.lasted_s, by_broker=by_broker, taken_over=taken_over)

    def hint(self) -> str:
        """An addition to the reason where another client seems to use our client identifier; else empty."""
        client_id = self.credentials.settings.client_id
        if not self.pauses.contested or not client_id:
            return ""
        what = f"another client seems to use {self.context.name}.client_id {client_id!r} and takes the session over"
        return f"; {what}: give each gateway a client_id of its own, or leave it out"


class Connection(Protocol):
    """The inputs of the state machine."""

    def start(self) -> None:
        """Begin to connect."""

    def stop(self) -> None:
        """Begin to close; sessions go on until ``drained``."""

    def records_wait(self) -> None:
        """Records were turned away: shorten a long pause."""

    def connect_now(self) -> None:
        """End the pause."""

    def drained(self) -> None:
        """No record is in flight, and none will come: the sink stops."""

    def cut(self, end: SessionEnd) -> None:
        """End the session or the attempt at once."""

    def _connect(self) -> None:
        """The pause is over."""

    def _opened(self, session: MqttSession, limits: BrokerLimits) -> None:
        """The broker has accepted the session."""

    def _ended(self, end: SessionEnd) -> None:
        """The session has ended, or the attempt has failed."""


def _machine() -> Callable[[ConnectionCore], Connection]:
    machine = TypeMachineBuilder(Connection, ConnectionCore)

    def wait(c: Connection, s: ConnectionCore, end: SessionEnd) -> IDelayedCall:
        s.forget_session()
        s.records_wait = s.records_wait or s.owner.has_records
        at_once = s.owner.connection_ended(end)
        pause_s = s.pause_s(end, at_once=at_once)
        s.destination.not_ready(f"{s.broker}: {end.reason}{s.hint()}")
        return s.context.reactor.callLater(pause_s, c._connect)

    idle = machine.state("Idle")
    connecting = machine.state("Connecting")
    open_ = machine.state("Open")
    waiting = machine.state("Waiting", wait)
    connecting_to_drain = machine.state("ConnectingToDrain")
    draining = machine.state("Draining")
    closing = machine.state("Closing")
    closed = machine.state("Closed")

    def attempt(c: Connection, s: ConnectionCore) -> None:
        s.read_credentials()
        settings = s.credentials.settings
        s.session = s.make_session()
        s.attempt_deadline = s.context.reactor.callLater(
            settings.connect_timeout_s, c.cut, SessionEnd(f"no answer within {settings.connect_timeout_s:g} s")
        )

        def failed(failure: Failure) -> None:
            c._ended(SessionEnd(f"no connection: {failure.getErrorMessage() or type(failure.value).__name__}"))

        s.attempt = s.credentials.endpoint.connect(OneProtocol(s.session))
        # not as the Deferred's result, which the endpoint refers to for ever
        s.attempt.addCallbacks(lambda _session: None, failed)

    @idle.upon(Connection.start).to(connecting)
    def start(c: Connection, s: ConnectionCore) -> None:
        s.destination.not_ready(f"connecting to {s.broker}")
        attempt(c, s)

    @waiting.upon(Connection._connect).to(connecting)
    def connect_again(c: Connection, s: ConnectionCore, _retry: IDelayedCall) -> None:
        attempt(c, s)

    @connecting.upon(Connection._opened).to(open_)
    def open_session(c: Connection, s: ConnectionCore, session: MqttSession, limits: BrokerLimits) -> None:
        s.destination.ready()
        begin_session(c, s, session, limits)

    @connecting_to_drain.upon(Connection._opened).to(draining)
    def begin_session(_: Connection, s: ConnectionCore, session: MqttSession, limits: BrokerLimits) -> None:
        s.cancel_attempt_deadline()
        s.records_wait = False
        s.owner.connection_opened(session, limits)

    for state in (connecting, open_):

        @state.upon(Connection._ended).to(waiting)
        def lost(_: Connection, s: ConnectionCore, end: SessionEnd) -> None:
            kind = "client_id_contested" if s.pauses.contested else "connection"
            s.failures.add(kind, f"{end.reason}{s.hint()}", broker=s.broker)
            s.owner.answer_settled()

    @waiting.upon(Connection.records_wait).loop()
    def hurry(_: Connection, s: ConnectionCore, retry: IDelayedCall) -> None:
        s.records_wait = True
        pause_s = s.pauses.while_records_wait_s()
        if s.unreached and retry.getTime() - s.context.reactor.seconds() > pause_s:
            retry.reset(pause_s)

    @waiting.upon(Connection.connect_now).loop()
    def connect_now(_: Connection, _core: ConnectionCore, retry: IDelayedCall) -> None:
        retry.reset(0)

    connecting.upon(Connection.stop).to(connecting_to_drain).returns(None)
    open_.upon(Connection.stop).to(draining).returns(None)

    @idle.upon(Connection.stop).to(closed)
    def stop_before_start(_: Connection, s: ConnectionCore) -> None:
        s.owner.connection_closed()

    @waiting.upon(Connection.stop).to(closed)
    def stop_while_waiting(_: Connection, s: ConnectionCore, retry: IDelayedCall) -> None:
        retry.cancel()
        s.owner.connection_closed()

    @draining.upon(Connection.drained).to(closing)
    def disconnect(_: Connection, s: ConnectionCore) -> None:
        if s.session is not None:
            s.session.disconnect()

    @connecting_to_drain.upon(Connection.drained).to(closing)
    def give_up_attempt(_: Connection, s: ConnectionCore) -> None:
        s.end_session(SessionEnd(STOPPED))

    for state in (connecting, open_, connecting_to_drain, draining, closing):

        @state.upon(Connection.cut).loop()
        def cut(_: Connection, s: ConnectionCore, end: SessionEnd) -> None:
            s.end_session(end)

    for state in (connecting_to_drain, draining, closing):

        @state.upon(Connection._ended).to(closed)
        def close(_: Connection, s: ConnectionCore, end: SessionEnd) -> None:
            s.forget_session()
            s.owner.connection_ended(end)
            s.owner.answer_settled()
            s.owner.connection_closed()

    for state in (idle, connecting, open_, connecting_to_drain, draining, closing, closed):
        state.upon(Connection.records_wait).loop().returns(None)
        state.upon(Connection.connect_now).loop().returns(None)
    for state in (closing, closed):
        state.upon(Connection.drained).loop().returns(None)
    closing.upon(Connection._opened).loop().returns(None)
    closed.upon(Connection.cut).loop().returns(None)
    waiting.upon(Connection.cut, nodata=True).loop().returns(None)

    return machine.build()


make_connection = _machine()
"""Makes a state machine from its core."""
