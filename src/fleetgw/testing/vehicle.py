"""A vehicle in memory: whole mTLS and WebSocket conversations with a server, without sockets and without delays."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from attrs import frozen
from twisted.internet.address import IPv4Address

from fleetgw.domain.records import PeerIdentity
from fleetgw.simulator.connection import VehicleConnection, over_tls
from fleetgw.simulator.conversation import Acked, Closed, Conversation, Event, NotOpened, Refused, Sent
from fleetgw.simulator.outbox import Outbox
from fleetgw.simulator.tls import client_tls
from fleetgw.testing.memory_transport import MemoryLink

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from twisted.internet.interfaces import IProtocolFactory
    from twisted.internet.task import Clock

    from fleetgw.simulator.certificates import Credential

DEFAULT_URL = "wss://localhost:4443/"
_SERVER_ADDRESS = IPv4Address("TCP", "127.0.0.1", 4443)


class ReceivedFrame(NamedTuple):
    """A WebSocket frame of the server."""

    opcode: int
    payload: bytes
    final: bool


@frozen
class End:
    """The end of a connection.

    :ivar code: the WebSocket close code; 1006 when the server sent no close frame, None when the connection never opened.
    :ivar reason: the server's text, or the event that ended the connection.
    :ivar http_status: status of the HTTP response to the upgrade when that was refused; 0 when there was none.
    """

    code: int | None
    reason: str
    http_status: int = 101


class InMemoryVehicle:
    """A vehicle connected in memory to a server's factory.

    Each call moves bytes until neither side writes any more, at one point in time. Timers of the server (timeouts, the
    linger timeout of a batch) run on ``advance``.

    :param server: the factory that ``listenTCP`` would be given, for connections with TLS; its ``doStart`` is not called.
    :param credential: the vehicle's certificate and key.
    :param authority_pem: the certificate authority of the server's certificate.
    :param clock: the clock that the server uses.
    :param headers: further request headers, such as ``X-TXID``, ``Version``, ``X-Network-Interface``.
    :param identity: the sender in its envelopes; by default ``vehicle_device`` with the certificate's common name.
    :param resend_after_s: see ``resend_overdue``.

    :ivar events: all events, in order; ``sent``, ``acked`` and ``refused`` are taken from it.
    :ivar received_frames: all frames of the server, control frames included, in order, of all connections.
    :ivar closed: the end of the latest connection; None while one is open, and before the first.
    """

    def __init__(
        self,
        server: IProtocolFactory,
        credential: Credential,
        authority_pem: bytes,
        clock: Clock,
        *,
        headers: Mapping[str, str] | None = None,
        identity: PeerIdentity | None = None,
        url: str = DEFAULT_URL,
        port: int = 50_000,
        resend_after_s: float = 10.0,
    ) -> None:
        self.events: list[Event] = []
        self.received_frames: list[ReceivedFrame] = []
        self.closed: End | None = None
        self._server = server
        self._clock = clock
        self._tls = client_tls(credential.certificate_pem(), credential.key_pem(), authority_pem, server_name="localhost")
        self._address = IPv4Address("TCP", "127.0.0.1", port)
        self.identity = identity or PeerIdentity("vehicle_device", credential.common_name.replace(".", "-"))
        self._conversation = Conversation(
            url, self.identity, Outbox(limit=1_000_000, resend_after_s=resend_after_s), headers, self._framed
        )
        self._connection: VehicleConnection | None = None
        self._link: MemoryLink | None = None

    @property
    def is_open(self) -> bool:
        """Whether the upgrade is done and neither side has begun to close."""
        return self._conversation.is_open

    @property
    def sent(self) -> list[bytes]:
        """Txids of all copies sent, in order; a record that was sent twice is in it twice."""
        return [event.txid for event in self.events if isinstance(event, Sent)]

    @property
    def acked(self) -> list[bytes]:
        """Txids acknowledged, in order."""
        return [event.txid for event in self.events if isinstance(event, Acked)]

    @property
    def refused(self) -> list[bytes]:
        """Txids answered with an error reply, in order."""
        return [event.txid for event in self.events if isinstance(event, Refused)]

    def connect(self) -> bool:
        """Connect, with TLS handshake and upgrade, and send the records that wait.

        :return: whether the connection has opened; ``closed`` has the reason when not.
        :raises RuntimeError: there is a connection already.
        """
        self.connect_tcp()
        self.pump()
        return self.is_open

    def connect_tcp(self) -> None:
        """Connect without moving a byte: ``pump`` or ``turn`` does that.

        :raises RuntimeError: there is a connection already.
        """
        if self._link is not None and not self._link.client.disconnected:
            raise RuntimeError("the vehicle is connected")
        self.closed = None
        self._connection = VehicleConnection(self._conversation, self._clock, self._happened, self._lost)
        client = over_tls(self._connection, self._tls, self._clock).buildProtocol(_SERVER_ADDRESS)
        server = self._server.buildProtocol(self._address)
        if client is None or server is None:
            raise RuntimeError("the server's factory takes no connection")
        self._link = MemoryLink(client, server, (self._address, _SERVER_ADDRESS), self._clock)

    def send(self, record_type: str, payload: bytes, txid: bytes | None = None) -> bytes:
        """Send a record, and let the server answer; returns its txid. Without a connection it waits for ``connect``."""
        return self.send_all([(record_type, payload)], [txid] if txid is not None else None)[0]

    def send_all(self, records: Sequence[tuple[str, bytes]], txids: Sequence[bytes] | None = None) -> list[bytes]:
        """Send records (type, payload) in one write, so that the server reads them together; returns their txids."""
        written = b""
        issued = []
        for number, (record_type, payload) in enumerate(records):
            txid = txids[number] if txids is not None else None
            now_s = self._clock.seconds()
            issued_txid, output = self._conversation.issue(record_type, payload, now_s, int(now_s), txid)
            issued.append(issued_txid)
            self._happened(output.events)
            written += output.data
        self.send_raw(written)
        return issued

    def send_message(self, content: bytes) -> None:
        """Send any binary message, well-formed or not, and let the server answer.

        :raises ConnectionError: the connection is not open.
        """
        self.send_raw(self._conversation.binary_message(content))

    def send_raw(self, data: bytes) -> None:
        """Send any bytes (frames, parts of frames) within TLS, and let the server answer."""
        if data and self._connection is not None:
            self._connection.transport.write(data)
        self.pump()

    def resend_overdue(self) -> None:
        """Send the records again that were not answered for ``resend_after_s``."""
        if self._connection is not None:
            self._connection.apply(self._conversation.resend_overdue(self._clock.seconds()))
        self.pump()

    def close(self) -> None:
        """Close with the WebSocket closing handshake."""
        if self._connection is not None and self.closed is None:
            self._connection.close()
        self.pump()

    def cut(self) -> None:
        """Abort the connection."""
        if self._link is not None:
            self._link.client.abortConnection()
        self.pump()

    def stop_reading(self) -> None:
        """Stop reading from the server until ``read_on``."""
        if self._link is not None:
            self._link.client.pauseProducing()

    def read_on(self) -> None:
        """Read from the server again."""
        if self._link is not None:
            self._link.client.resumeProducing()
        self.pump()

    def advance(self, seconds: float) -> None:
        """Advance the clock, so that timers run."""
        self._clock.advance(seconds)
        self.pump()

    def pump(self) -> None:
        """Move bytes until neither side writes any more.

        :raises AssertionError: they go on writing.
        """
        self._clock.advance(0)
        if self._link is not None:
            self._link.pump()

    def turn(self) -> bool:
        """Move the written bytes once in each direction; returns whether there were any."""
        return self._link is not None and self._link.turn()

    def _framed(self, opcode: int, payload: bytes, final: bool) -> None:  # noqa: FBT001 - a frame's own bit
        self.received_frames.append(ReceivedFrame(opcode, payload, final))

    def _happened(self, events: Sequence[Event]) -> None:
        self.events += events
        for event in events:
            match event:
                case Closed(code, reason, _):
                    self.closed = End(code, reason)
                case NotOpened(status, reason):
                    self.closed = End(None, reason, status)

    def _lost(self) -> None:
        self._connection = None
