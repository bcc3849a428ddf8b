"""One vehicle's connection: bytes in, messages to its session, replies out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.protocol import Protocol, connectionDone
from zope.interface import implementer

from fleetgw.adapters.ingress import stages
from fleetgw.adapters.ingress.autobahn_frames import POLICY_VIOLATION
from fleetgw.adapters.ingress.deadlines import Abort, Close, Cut, Deadlines, Ping, Stage
from fleetgw.adapters.ingress.frames import Frames
from fleetgw.adapters.ingress.upgrade import Upgrade
from fleetgw.adapters.text.addresses import address
from fleetgw.domain.ports import IVehicleLink
from fleetgw.domain.record_stages import RecordStages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.python.failure import Failure

    from fleetgw.adapters.ingress.client_hello import ClientHello
    from fleetgw.adapters.ingress.context import ConnectionContext
    from fleetgw.adapters.ingress.handshake_failure import HandshakeFailure
    from fleetgw.adapters.ingress.tls import VehicleTransport
    from fleetgw.adapters.ingress.turns import Turn
    from fleetgw.adapters.ingress.upgrade import Answer, Upgraded
    from fleetgw.domain.ports import ISession, ITrace
    from fleetgw.domain.records import Envelope, Record, Vehicle

GOING_AWAY = 1001
INTERNAL_ERROR = 1011

_OPEN = Stage.OPEN  # looked up once: an attribute of an Enum costs as much as a call
_PING = b"\x89\x00"


@implementer(IVehicleLink)
class VehicleConnection(Protocol):
    """The protocol inside TLS: an upgrade, then WebSocket frames.

    Reading stops for three reasons, and goes on once none is left: the vehicle's turn is over (``wait``, ``read_on``), the
    session has paused it (``pause_reading``), or the connection is being left (``leave``).

    :ivar remote: ``host:port`` of the peer, an IPv6 host in brackets.
    :ivar trace: takes the stages of the connection; None when nobody follows it.
    :ivar is_paused: whether the session has paused reading.
    """

    transport: VehicleTransport
    remote: str
    trace: ITrace | None = None
    _host = ""
    _session: ISession | None = None
    _frames: Frames | None = None
    _turn: Turn | None = None
    _vehicle: Vehicle | None = None
    _writes: list[bytes] | None = None
    _unread = b""
    is_paused = False
    _is_waiting = False
    _leaving: str | None = None

    def __init__(self, context: ConnectionContext) -> None:
        self._context = context

    def connectionMade(self) -> None:
        """Register the connection, before its TLS handshake."""
        peer = self.transport.getPeer()
        self._host = host = str(getattr(peer, "host", ""))
        self.remote = address(host, getattr(peer, "port", ""))
        self._deadlines = Deadlines(self._context.monotonic())
        self._upgrade = Upgrade(self._context, self.transport, self.remote)
        self._context.registry.made(self, host)
        self.trace = trace = self._context.tracing.trace(host, self.remote)
        if trace is not None:
            trace.note("accepted", f"a socket from {self.remote} was accepted")

    def hello_received(self, hello: ClientHello) -> None:
        """See ``Inside``."""
        if self.trace is not None:
            stages.note_hello(self.trace, hello)

    def handshakeCompleted(self) -> None:
        """See ``Inside``."""
        if self.trace is not None:
            stages.note_handshake(self.trace, self.transport, self.connected_s)

    # -- bytes in

    def dataReceived(self, data: bytes) -> None:
        """Handle decrypted bytes: a request, or messages."""
        if self._session is not None:
            self.messages_received([], data)
            return
        try:
            self._read_request(data, self.transport.heard_at)
        except Exception as error:  # an error that a peer's bytes provoke ends this connection alone
            self._broken(error)

    @property
    def max_split_bytes(self) -> int:
        """See ``Inside``."""
        frames = self._frames
        return self._context.limits.max_message_bytes if frames is not None and frames.reader is None else -1

    def messages_received(self, messages: list[Envelope | bytes], plaintext: bytes) -> None:
        """See ``Inside``. Their time in the turn starts with their decryption, at ``transport.heard_at``."""
        session, frames, turn = self._session, self._frames, self._turn
        if session is None or frames is None or turn is None:
            return
        began_at = self.transport.heard_at
        try:
            if len(messages) == 1 and not plaintext:
                session.received(messages)
            else:
                writes: list[bytes] = []
                self._writes = writes
                if messages:
                    session.received(messages)
                position = frames.read(plaintext, began_at, began_at + turn.left_s) if plaintext else 0
                self._writes = None
                self.write(b"".join(writes))
                if frames.is_finished:
                    if self.trace is not None:
                        self.trace.note("closing", frames.end)
                    self._lose_connection()
                elif position < len(plaintext):
                    self._unread = plaintext[position:]
                    self.wait()
        except Exception as error:  # an error that a peer's bytes provoke ends this connection alone
            self._broken(error)
        turn.left_s = left_s = turn.left_s + began_at - self._context.monotonic()
        if left_s <= 0 or self._unread:
            turn.end()

    def wait(self) -> None:
        """Stop reading until the vehicle's next turn."""
        if self._turn is not None and not self._is_waiting:
            self._is_waiting = True
            self.transport.pauseProducing()
            self._turn.wait(self)

    def read_on(self) -> None:
        """See ``Reader``. Handles decrypted bytes first, then encrypted ones."""
        self._is_waiting = False
        if self._unread and self._may_read_on:
            data, self._unread = self._unread, b""
            self.transport.heard_at = self._context.monotonic()
            self.dataReceived(data)
        if self._may_read_on:
            self.transport.read_on()
        if self._session is not None and self._may_read_on:
            if self._leaving is not None:
                self._close_once_settled(self._session, self._leaving)
            else:
                self.transport.resumeProducing()

    @property
    def _may_read_on(self) -> bool:
        """Whether waiting bytes may be handled: the vehicle's turn is not over, and the session has not paused reading."""
        return self._session is not None and not self._is_waiting and not self.is_paused

    def _read_on_soon(self) -> None:
        """Handle the waiting bytes in the vehicle's next turn, which comes in the reactor's next iteration."""
        self.wait()
        if self._turn is not None:
            self._turn.end()

    def pause_reading(self) -> None:
        """See ``IVehicleLink``. Pings go on, but no answer is expected: see ``Deadlines``."""
        if self._deadlines.stage is _OPEN:
            self.is_paused = True
            self.transport.pauseProducing()
            self.transport.limit_unacknowledged(self._context.limits.ping_timeout_s)

    def resume_reading(self) -> None:
        """See ``IVehicleLink``. The vehicle counts as heard when it is read again; no message is incomplete in a pause."""
        if self.is_paused:
            self.is_paused = False
            self._read_on_soon()

    def too_many_tls_records(self, limit: int) -> None:
        """Cut the connection: one read brought more TLS records than are decrypted at once."""
        self._cut("tls_records_too_small", f"more than {limit} small TLS records at once")

    # -- upgrade

    def _read_request(self, data: bytes, now: float) -> None:
        if self._deadlines.stage is Stage.CLOSING:
            return
        answer = self._upgrade.received(data, now)
        if answer is None:
            return
        self._trace_answer(answer)
        if answer.upgraded is not None:
            self._open(answer.upgraded)
        self.transport.write(answer.response)
        if self._session is None:
            self._upgrade.end(self._context.monotonic())
            self._deadlines.stage_since = now
            if answer.closes:
                self._lose_connection()

    def _open(self, upgraded: Upgraded) -> None:
        context = self._context
        self._vehicle = vehicle = upgraded.vehicle
        self._session = session = context.gateway.connected(vehicle, self)
        self._frames = Frames(context, self, session)
        self._turn = self.transport.turn = context.turns.of(vehicle.vin)
        if self.trace is not None:
            self._use_trace(self.trace, vehicle)
        self._enter(Stage.OPEN)
        context.registry.opened(self, vehicle.vin)
        context.events.connected(vehicle.vin, upgraded.log_fields)

    @property
    def vehicle(self) -> Vehicle | None:
        """The connected vehicle; None before the upgrade and after the start of the closing handshake."""
        return self._vehicle if self._deadlines.stage is _OPEN else None

    @property
    def connected_s(self) -> float:
        """Seconds since the upgrade, for a connection with a ``vehicle``; else since the socket was accepted."""
        return self._context.monotonic() - self._deadlines.stage_since

    def _trace_answer(self, answer: Answer) -> None:
        trace = self._context.tracing.trace(self._host, self.remote, answer.device_id)
        if trace is not None and trace != self.trace:  # it follows the vehicle, which is known from here on
            stages.note_handshake(trace, self.transport, self.connected_s)
        self.trace = trace
        if trace is not None:
            stages.note_answer(trace, answer)

    def _trace_failure(self, failure: HandshakeFailure) -> None:
        self.trace = trace = self._context.tracing.trace(self._host, self.remote, failure.claimed_id)
        if trace is not None:
            stages.note_failure(trace, failure)

    def _use_trace(self, trace: ITrace | None, vehicle: Vehicle) -> None:
        self.trace = trace
        self._context.tracing.follow(vehicle, trace)
        if self._session is not None:
            self._session.trace = trace

    def look_for_trace(self) -> None:
        """Look for the trace again: one has begun or ended."""
        vehicle = self._vehicle
        trace = self._context.tracing.trace(self._host, self.remote, vehicle.vin if vehicle is not None else "")
        if vehicle is None:
            self.trace = trace
        elif trace != self.trace:
            if trace is not None:
                stages.note_present(trace, vehicle, self.connected_s)
            self._use_trace(trace, vehicle)

    # -- replies out

    def message_read(self, payload: bytes) -> None:
        """See ``ReaderHost``."""
        if self._session is not None:
            self._session.received([payload])

    def write(self, data: bytes) -> None:
        """Send bytes; those of one read are joined to one write."""
        if self._writes is not None:
            self._writes.append(data)
        elif data:
            self.transport.write(data)
            if self.transport.has_unsent:
                unsent_bytes = self.transport.unsent_bytes
                if unsent_bytes > self._context.limits.max_pending_reply_bytes:
                    self._cut("replies_not_read", f"{unsent_bytes} bytes of replies are waiting")

    def acknowledge(self, records: Sequence[Record]) -> None:
        """See ``IVehicleLink``."""
        if self._deadlines.stage is _OPEN:
            self.write(self._context.replies.acks(records))
        if self.trace is not None:
            RecordStages(self.trace).acked(records, is_open=self._deadlines.stage is _OPEN)

    def acknowledge_unknown(self, txid: bytes) -> None:
        """See ``IVehicleLink``."""
        if self._deadlines.stage is _OPEN:
            self.write(self._context.replies.ack("", txid))

    def reply_error(self, txid: bytes) -> None:
        """See ``IVehicleLink``."""
        if self._deadlines.stage is _OPEN:
            self.write(self._context.replies.error(txid))

    def close(self, reason: str, code: int = GOING_AWAY) -> None:
        """See ``IVehicleLink``."""
        if self._deadlines.stage is _OPEN and self._frames is not None:
            self._frames.send_close(code, reason)
            if self.trace is not None:
                self.trace.note("closing", f"the closing handshake begins, {code}: {reason}", code=code)
            self._enter(Stage.CLOSING)
            # read on, for the peer's close frame
            if self.is_paused:
                self.is_paused = False
                self._read_on_soon()
            elif self._leaving is not None:
                self.transport.resumeProducing()
            self._leaving = None
        elif self._deadlines.stage is Stage.UPGRADE:
            self.abort()

    def leave(self, reason: str) -> None:
        """Read no more; ``close`` once every record of the vehicle that can be acknowledged has been.

        Bytes that wait for the vehicle's next turn, or for the session, are handled before. ``close`` may be called earlier.
        """
        if self._session is None or self._deadlines.stage is not _OPEN:
            self.close(reason)
        elif self._leaving is None:
            self._leaving = reason
            self.transport.pauseProducing()
            if self._may_read_on:
                self._close_once_settled(self._session, reason)

    def _close_once_settled(self, session: ISession, reason: str) -> None:
        session.when_settled(lambda: self.close(reason))

    # -- deadlines and the end

    def check_deadlines(self, now: float) -> None:
        """Ping or cut a silent or slow peer. Called about once a second with the monotonic time."""
        step = self._deadlines.check(
            self._context.limits,
            now,
            heard_at=self.transport.heard_at,
            unsent_bytes=self.transport.unsent_bytes,
            incomplete_since=self._frames.incomplete_since if self._frames is not None else None,
            is_paused=self.is_paused,
        )
        match step:
            case Ping():
                self.transport.write(_PING)
            case Cut(event, reason):
                self._cut(event, reason)
            case Close(reason):
                self.close(reason, POLICY_VIOLATION)
            case Abort():
                self.abort()

    def _enter(self, stage: Stage) -> None:
        self._deadlines.enter(stage, self._context.monotonic())

    def _lose_connection(self) -> None:
        self._enter(Stage.CLOSING)
        self.transport.loseConnection()

    def abort(self) -> None:
        """Close at once."""
        self._enter(Stage.CLOSING)
        self.transport.abortConnection()

    def _cut(self, event: str, reason: str) -> None:
        if self.trace is not None:
            self.trace.note("closing", f"cut, {event}: {reason}", reason=event)
        self._context.events.connection_cut(event, self._device_id, self.remote, reason)
        self.abort()

    def _broken(self, error: Exception) -> None:
        self._context.events.connection_failed(self._device_id, self.remote, error)
        writes, self._writes = self._writes, None
        if self._deadlines.stage is _OPEN:
            self.write(b"".join(writes or ()))
            self.close("internal error", INTERNAL_ERROR)
        else:
            self.abort()

    @property
    def _device_id(self) -> str:
        return self._vehicle.vin if self._vehicle is not None else ""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End the session, whichever side closed the connection."""
        session, self._session = self._session, None
        self._frames = self._turn = None
        self._unread = b""
        is_closing = self._deadlines.stage is Stage.CLOSING
        self._deadlines.stage = Stage.CLOSING
        context = self._context
        try:
            if session is None:
                if (failure := self.transport.handshake_failure(reason)) is not None:
                    context.events.handshake_failed(failure, self.remote)
                    self._trace_failure(failure)
            else:
                context.registry.closed(self._device_id)
                session.disconnected()
            self._upgrade.end(context.monotonic())
            if self.trace is not None:
                stages.note_end(self.trace, reason, self.transport, is_closing=is_closing, is_open=session is not None)
        finally:
            context.registry.lost(self)
