"""A vehicle's side of the protocol, without any I/O: bytes in, bytes and events out, time handed in.

One conversation spans any number of connections: records without an answer are sent again on the next connection.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, NamedTuple

from attrs import frozen
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidURI
from websockets.frames import Close, CloseCode, Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from fleetgw.adapters.codec import envelope
from fleetgw.domain.errors import MalformedEnvelope
from fleetgw.simulator.outbox import Outbox, Unacked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from fleetgw.domain.records import PeerIdentity


@frozen
class Opened:
    """The upgrade is done; records flow. ``again``: not for the first time."""

    again: bool


@frozen
class NotOpened:
    """The connection ended before the upgrade was done.

    :ivar status: status of the server's HTTP answer; 0 when there was none.
    :ivar reason: the reason, as text.
    """

    status: int
    reason: str


class Issued(NamedTuple):
    """A new record is in the outbox."""

    record_type: str
    txid: bytes


class Sent(NamedTuple):
    """A copy of a record was sent; ``again``: not the first copy."""

    record_type: str
    txid: bytes
    again: bool


class Acked(NamedTuple):
    """A record was acknowledged, ``latency_s`` after its first copy was sent."""

    record_type: str
    txid: bytes
    latency_s: float


class Refused(NamedTuple):
    """A record was answered with an error reply; a vehicle does not send it again."""

    record_type: str
    txid: bytes


class Stray(NamedTuple):
    """An answer that matches no unacknowledged record: a second ack, or an error reply without a txid."""

    txid: bytes


class Unreadable(NamedTuple):
    """The server sent a message that is neither an acknowledgement nor an error reply."""

    message: bytes


@frozen
class Closed:
    """An open connection ended.

    :ivar code: the WebSocket close code; 1006 when the server sent no close frame.
    :ivar reason: the server's text, or the reason of the loss.
    :ivar wanted: whether the vehicle had started the closing handshake.
    """

    code: int
    reason: str
    wanted: bool


Event = Opened | NotOpened | Issued | Sent | Acked | Refused | Stray | Unreadable | Closed


class Output(NamedTuple):
    """The output of one step of the conversation.

    ``data``: bytes to write, may be empty. ``events``: in order. ``ends``: close the connection after ``data``.
    """

    data: bytes
    events: list[Event]
    ends: bool = False


class Conversation:
    """One vehicle's side of the protocol.

    Every connection gives either one ``NotOpened``, or one ``Opened`` and later one ``Closed``.

    :param url: URL of the gateway, ``wss://host:port/path``.
    :param identity: the vehicle's identity in its envelopes.
    :param outbox: its unacknowledged records.
    :param headers: further request headers.
    :param frame_received: called with every frame of the server before it is handled: opcode, payload, whether it is final.
    :raises ValueError: ``url`` is no WebSocket URL.
    """

    def __init__(
        self,
        url: str,
        identity: PeerIdentity,
        outbox: Outbox,
        headers: Mapping[str, str] | None = None,
        frame_received: Callable[[int, bytes, bool], None] | None = None,
    ) -> None:
        try:
            self._uri = parse_uri(url)
        except InvalidURI as error:
            raise ValueError(str(error)) from error
        self._sender_id = identity.sender_id.encode()
        self._device_type = identity.client_type.encode()
        self._device_id = identity.device_id.encode()
        self._outbox = outbox
        self._headers = dict(headers or {})
        self._frame_received = frame_received
        self._connection: ClientProtocol | None = None
        self._ended = False
        self._has_opened = False
        self._is_closing = False
        self._fragments: list[bytes] = []

    @property
    def is_open(self) -> bool:
        """Whether records can be sent now."""
        return self._connection is not None and self._connection.state is State.OPEN

    def connected(self) -> bytes:
        """A new connection is made, TLS included: the upgrade request to write."""
        connection = self._connection = ClientProtocol(self._uri)
        self._ended = self._is_closing = False
        self._fragments = []
        request = connection.connect()
        for name, value in {"X-TXID": str(uuid.uuid4()), **self._headers}.items():
            request.headers[name] = value
        connection.send_request(request)
        return _written(connection)

    def disconnected(self, reason: str) -> list[Event]:
        """The connection is lost; unacknowledged records wait for the next one.

        :param reason: the reason, as text.
        """
        connection, self._connection = self._connection, None
        if connection is None or self._ended:
            return []
        was_open = connection.state is not State.CONNECTING
        connection.receive_eof()
        if was_open:
            return [Closed(CloseCode.ABNORMAL_CLOSURE, reason, self._is_closing)]
        # an answer without a length is complete only now
        answers = [event for event in connection.events_received() if isinstance(event, Response)]
        return [NotOpened(answers[0].status_code, answers[0].reason_phrase) if answers else NotOpened(0, reason)]

    def issue(
        self, record_type: str, payload: bytes, now_s: float, now_epoch_s: int, txid: bytes | None = None
    ) -> tuple[bytes, Output]:
        """Send a new record, or keep it for the next connection when there is none; its txid, and the output.

        :param now_s: monotonic seconds.
        :param now_epoch_s: epoch seconds, for the envelope.
        :param txid: a fresh UUID4 unless given.
        :raises OverflowError: the outbox is full.
        :raises ValueError: a record with that txid is still unacknowledged.
        """
        if txid is None:
            txid = str(uuid.uuid4()).encode()
        message = envelope.write_stream(
            txid=txid,
            topic=record_type.encode("utf-8", "surrogateescape"),
            sender_id=self._sender_id,
            payload=payload,
            created_at_s=now_epoch_s,
            device_type=self._device_type,
            device_id=self._device_id,
        )
        record = Unacked(record_type, txid, message)
        self._outbox.put(record)
        issued = Issued(record_type, txid)
        if not self.is_open:
            return txid, Output(b"", [issued])
        sent = self._send([record], now_s)
        return txid, Output(sent.data, [issued, *sent.events])

    def resend_overdue(self, now_s: float) -> Output:
        """Send records again that have waited too long for their answers."""
        return self._send(self._outbox.overdue(now_s), now_s) if self.is_open else Output(b"", [])

    def binary_message(self, content: bytes) -> bytes:
        """The bytes of a binary message with any content, which the outbox does not keep.

        :raises ConnectionError: the connection is not open.
        """
        connection = self._connection
        if connection is None or connection.state is not State.OPEN:
            raise ConnectionError("the vehicle's connection is not open")
        connection.send_binary(content)
        return _written(connection)

    def close(self) -> bytes:
        """The bytes of a close frame, which starts the closing handshake; none when the connection is not open."""
        connection = self._connection
        if connection is None or connection.state is not State.OPEN:
            return b""
        connection.send_close(CloseCode.NORMAL_CLOSURE)
        self._is_closing = True
        return _written(connection)

    def received(self, data: bytes, now_s: float) -> Output:
        """Bytes came from the server at monotonic time ``now_s``."""
        connection = self._connection
        if connection is None or self._ended:
            return Output(b"", [])
        connection.receive_data(data)
        events: list[Event] = []
        records = b""
        for event in connection.events_received():
            match event:
                case Frame():
                    if self._frame_received is not None:
                        self._frame_received(int(event.opcode), bytes(event.data), event.fin)
                    self._read(event, now_s, events)
                case Response() if connection.handshake_exc is None:
                    events.append(Opened(self._has_opened))
                    self._has_opened = True
                    # the same read may hold the server's close frame already
                    if self.is_open:
                        waiting = self._send(list(self._outbox), now_s)
                        records += waiting.data
                        events += waiting.events
                case Response():
                    self._end(NotOpened(event.status_code, event.reason_phrase), events)
        if not self._ended and connection.parser_exc is not None:
            why = f"the server broke the protocol: {connection.parser_exc}"
            self._end(Closed(CloseCode.ABNORMAL_CLOSURE, why, self._is_closing), events)
        if not self._ended and connection.handshake_exc is not None:
            self._end(NotOpened(0, str(connection.handshake_exc)), events)
        return Output(_written(connection) + records, events, ends=self._ended)

    def _read(self, frame: Frame, now_s: float, events: list[Event]) -> None:
        match frame.opcode:
            case Opcode.BINARY | Opcode.TEXT | Opcode.CONT:
                self._fragments.append(bytes(frame.data))
                if frame.fin:
                    message = b"".join(self._fragments)
                    self._fragments.clear()
                    events.append(self._answer(message, now_s))
            case Opcode.CLOSE:
                close = Close.parse(bytes(frame.data))
                self._end(Closed(close.code, close.reason, self._is_closing), events)

    def _answer(self, message: bytes, now_s: float) -> Event:
        try:
            answer = envelope.read(message, max_id_bytes=len(message))
        except MalformedEnvelope:
            return Unreadable(message)
        is_ack = answer.message_type == envelope.STREAM_ACK
        if not is_ack and answer.payload != envelope.INCORRECT_MESSAGE_FORMAT:
            return Unreadable(message)
        settled = self._outbox.settle(answer.txid, now_s)
        if settled is None:
            return Stray(answer.txid)
        if is_ack:
            return Acked(settled.record_type, answer.txid, settled.latency_s)
        return Refused(settled.record_type, answer.txid)

    def _send(self, records: Iterable[Unacked], now_s: float) -> Output:
        data = []
        events: list[Event] = []
        for record in records:
            data.append(self.binary_message(record.message))
            events.append(Sent(record.record_type, record.txid, again=record.first_sent_at_s is not None))
            self._outbox.sent(record, now_s)
        return Output(b"".join(data), events)

    def _end(self, last: Closed | NotOpened, events: list[Event]) -> None:
        self._ended = True
        events.append(last)


def _written(connection: ClientProtocol) -> bytes:
    return b"".join(connection.data_to_send())
