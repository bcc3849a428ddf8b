"""One MQTT session on the reactor.

paho keeps the session: connect, keep-alive, disconnect, and what a broker has to say about these. Publishes and their
acknowledgements go past it on the same connection, because ``paho.mqtt.client.Client.publish`` costs about 20 us and a
record is many publishes.
"""

from __future__ import annotations

import socket
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, cast

from attrs import evolve, frozen
from OpenSSL import SSL
from paho.mqtt.client import MQTT_ERR_SUCCESS, Client, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from zope.interface import implementer

from fleetgw.adapters.certificates.openssl_reasons import reason_of
from fleetgw.adapters.sinks.mqtt.outgoing import Outgoing, socket_of
from fleetgw.adapters.sinks.mqtt.packets import (
    CONNACK,
    PACKET_SIZE_LIMIT_BYTES,
    PUBACK,
    PUBCOMP,
    PUBREC,
    Packet,
    ProtocolError,
    acknowledgement,
    is_failure,
    pubrel,
    read_packets,
    read_plain_pubacks,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from paho.mqtt.client import ConnectFlags, DisconnectFlags, SocketLike
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode
    from twisted.internet.interfaces import IConsumer, IDelayedCall, IReactorTime, ITCPTransport
    from twisted.python.failure import Failure

    from fleetgw.adapters.sinks.mqtt.settings import MqttSettings

    class IConnection(ITCPTransport, IConsumer, IPushProducer):
        """What Twisted's TCP and TLS connections are."""


KEEP_ALIVE_CHECK_INTERVAL_S = 1.0

READ_PAUSE_S = 0.001
"""How long acknowledgements gather before the next look: mosquitto sends each by itself, and a look costs as much as ten."""

_OVER_A_PACKET = frozenset({0x80, 0x81, 0x82, 0x83, 0x87, 0x90, 0x95, 0x99, 0x9A, 0x9B})
"""MQTT 5 reason codes (3.14.2.1) of a DISCONNECT that a publish may have brought about; others are about the broker."""


_TAKEN_OVER = 0x8E
"""MQTT 5: another client has begun a session with our client identifier."""

_UNAVAILABLE = frozenset({"Server unavailable", "Server busy"})
_WRONG_CREDENTIALS = frozenset({"Bad user name or password", "Not authorized", "Bad authentication method", "Banned"})


@frozen
class BrokerLimits:
    """What a broker allows (MQTT 5, 3.2.2.3; earlier ones do not say).

    :ivar in_flight: publishes of QoS 1 and 2 that it takes before it has acknowledged the first.
    :ivar packet_size_bytes: the largest packet.
    """

    in_flight: int
    packet_size_bytes: int


@frozen
class SessionEnd:
    """How a session has ended.

    :ivar reason: for people.
    :ivar over_a_packet: the broker has ended it, and what we sent may be why.
    :ivar refused: the broker did not let us in, and does not say that it is not for long.
    :ivar wrong_credentials: as it does not take who we say we are.
    :ivar taken_over: the broker has said that another client has taken it over.
    :ivar stalled: we cut it, as a record was not confirmed in time.
    :ivar lasted_s: seconds since the broker accepted the session; None when it never did.
    """

    reason: str
    over_a_packet: bool = False
    refused: bool = False
    wrong_credentials: bool = False
    taken_over: bool = False
    stalled: bool = False
    lasted_s: float | None = None


class SessionOwner(Protocol):
    """Who is told what happens to a session. After ``session_ended`` nothing is called."""

    def session_opened(self, limits: BrokerLimits) -> None:
        """The broker has let us in."""

    def acknowledged(self, acknowledgements: list[tuple[int, int]]) -> None:
        """The broker has taken publishes, or refused them: packet identifiers and reason codes."""

    def session_resumed(self) -> None:
        """The connection takes data again, after ``paused``."""

    def session_ended(self, end: SessionEnd) -> None:
        """The session is over, or has never begun."""


class _Wire:
    """The socket that paho sees: what it sends goes to Twisted's transport, what it reads is one packet at a time."""

    def __init__(self, transport: IConnection, outgoing: Outgoing) -> None:
        self._transport = transport
        self._outgoing = outgoing
        self._received = b""

    def feed(self, packet: bytes) -> None:
        self._received += packet

    def send(self, buffer: bytes | bytearray) -> int:
        self._outgoing.write(bytes(buffer))
        return len(buffer)

    def recv(self, buffer_size: int) -> bytes:
        if not self._received:
            raise BlockingIOError
        received, self._received = self._received[:buffer_size], self._received[buffer_size:]
        return received

    def close(self) -> None:
        self._transport.loseConnection()

    def fileno(self) -> int:
        return -1

    def setblocking(self, flag: bool) -> None:  # noqa: FBT001 - a socket's signature
        """Never blocks."""


class _Paho(Client):
    """paho's client on a connection that is there already."""

    def __init__(self, settings: MqttSettings, wire: _Wire) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=settings.client_id,
            protocol=MQTTv5 if settings.is_mqtt5 else MQTTv311,
            reconnect_on_failure=False,
        )
        self._wire = wire
        if settings.username:
            self.username_pw_set(settings.username, settings.password)

    def _create_socket(self) -> SocketLike:
        return self._wire  # the one place where paho lets a transport of another making in


def _tcp_acknowledger(connection: IConnection) -> Callable[[], object]:
    """What has the system acknowledge received data at once.

    Linux may take 40 ms for that; and mosquitto, which sends its acknowledgements one by one and leaves Nagle's algorithm
    on, holds the next ones back as long.
    """
    handle = socket_of(connection)
    if handle is None or not hasattr(socket, "TCP_QUICKACK"):
        return lambda: None
    return partial(handle.setsockopt, socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


@implementer(IPushProducer)
class MqttSession(TwistedProtocol):
    """The protocol of one connection to a broker. Once that is lost, nothing is left that refers to it in a circle."""

    def __init__(self, settings: MqttSettings, owner: SessionOwner, clock: IReactorTime) -> None:
        self._settings = settings
        self._owner = owner
        self._clock = clock
        self._left_over = b""
        self._opened_at_s: float | None = None
        self._wrote = False
        self._end: SessionEnd | None = None
        self._outgoing: Outgoing | None = None
        self._read_pause: IDelayedCall | None = None
        self._keep_alive: IDelayedCall | None = None

    @property
    def paused(self) -> bool:
        """Whether the connection takes no more data for now."""
        return self._outgoing is None or self._outgoing.full

    @property
    def written_bytes(self) -> int:
        """Number of bytes written."""
        return self._outgoing.written_bytes if self._outgoing is not None else 0

    def left_bytes(self) -> int:
        """Number of written bytes that have left this machine, as far as the system reports it."""
        return self._outgoing.left_bytes() if self._outgoing is not None else 0

    def connectionMade(self) -> None:
        """Introduce ourselves."""
        self._connection = cast("IConnection", self.transport)
        self._connection.setTcpNoDelay(True)  # what is written is a burst already: it need not wait for company
        self._acknowledge_tcp = _tcp_acknowledger(self._connection)
        self._outgoing = Outgoing(self._connection)
        self._wire = _Wire(self._connection, self._outgoing)
        self._client = _Paho(self._settings, self._wire)
        self._client.on_connect = self._answered
        self._client.on_disconnect = self._disconnected
        self._connection.registerProducer(self, streaming=True)
        # host and port are paho's for reconnecting, which is ours
        self._client.connect(self._settings.host, self._settings.port, self._settings.keep_alive_s)
        self._keep_alive = self._clock.callLater(KEEP_ALIVE_CHECK_INTERVAL_S, self._check_keep_alive)

    def dataReceived(self, data: bytes) -> None:
        """Take acknowledgements; what else there is, is paho's."""
        self._wrote = False
        received = self._left_over + data
        try:
            if self._opened_at_s is None and received[0] != CONNACK:
                raise ProtocolError(f"it begins with {received[:20]!r}")
            acknowledgements, received = read_plain_pubacks(received)
            packets, self._left_over = read_packets(received)
            acknowledgements += self._read(packets)
        except ProtocolError as error:
            self.end(f"it answers, but not in MQTT: {error}")
            return
        if acknowledgements:
            self._rest()
            self._owner.acknowledged(acknowledgements)
        if not self._wrote:  # what is written carries TCP's acknowledgement along
            self._acknowledge_tcp()

    def _rest(self) -> None:
        if self._read_pause is None or not self._read_pause.active():  # TLS may hand over more of what has been read
            self._connection.pauseProducing()
            self._read_pause = self._clock.callLater(READ_PAUSE_S, self._connection.resumeProducing)

    def _read(self, packets: list[Packet]) -> list[tuple[int, int]]:
        acknowledgements = []
        for packet in packets:
            kind = packet.first
            if kind in (PUBACK, PUBCOMP):
                acknowledgements.append(acknowledgement(packet.body))
            elif kind == PUBREC:
                identifier, code = acknowledgement(packet.body)
                if is_failure(code):
                    acknowledgements.append((identifier, code))
                else:
                    self.write(pubrel(identifier))
            else:
                self._wire.feed(packet.whole)
                if self._client.loop_read() != MQTT_ERR_SUCCESS:
                    raise ProtocolError(f"a packet that begins with byte {kind:#04x}")
        return acknowledgements

    def write(self, packets: bytes) -> None:
        """Send whole packets."""
        self._wrote = True
        if self._outgoing is not None:
            self._outgoing.write(packets)

    def disconnect(self) -> None:
        """Say goodbye and close, once everything written is sent."""
        self._note_end(SessionEnd("we disconnected"))
        self._connection.unregisterProducer()
        if self._outgoing is not None:
            self._outgoing.flush()
        self._client.disconnect()

    def end(self, reason: str, *, stalled: bool = False) -> None:
        """Cut the connection at once."""
        self._cut(SessionEnd(reason, stalled=stalled))

    def _cut(self, end: SessionEnd) -> None:
        self._note_end(end)
        self._connection.abortConnection()

    def _note_end(self, end: SessionEnd) -> None:
        """What is known first is the cause."""
        self._end = self._end or end

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell the owner."""
        for call in (self._keep_alive, self._read_pause):
            if call is not None and call.active():
                call.cancel()
        end = self._end or SessionEnd(f"the connection was lost: {_said(reason)}", over_a_packet=True)
        if self._opened_at_s is not None:
            end = evolve(end, lasted_s=self._clock.seconds() - self._opened_at_s)
        self._break_cycles()
        self._owner.session_ended(end)

    def _break_cycles(self) -> None:
        """Free the unsent bytes now: full collections are rare, and these may be megabytes for each lost connection."""
        self._client.on_connect = self._client.on_disconnect = None
        self._keep_alive = self._read_pause = self._outgoing = None
        below: Any = self._connection  # Any: no interface tells of what is below
        while below is not None:
            if (connector := getattr(below, "connector", None)) is not None:
                connector.transport = None  # Twisted's connector and its connection refer to each other
            below = getattr(below, "transport", None)
        self.transport = None
        del self._connection, self._client, self._wire, self._acknowledge_tcp

    def pauseProducing(self) -> None:
        """The broker reads too slowly."""
        if self._outgoing is not None:
            self._outgoing.pause()

    def resumeProducing(self) -> None:
        """It has caught up."""
        if self._outgoing is not None:
            self._outgoing.resume()
            if not self._outgoing.full:
                self._owner.session_resumed()

    def stopProducing(self) -> None:
        """The connection goes: ``connectionLost`` says so."""

    def _check_keep_alive(self) -> None:
        self._keep_alive = self._clock.callLater(KEEP_ALIVE_CHECK_INTERVAL_S, self._check_keep_alive)
        self._client.loop_misc()

    def _answered(
        self, _client: Client, _data: object, _flags: ConnectFlags, code: ReasonCode, properties: Properties | None
    ) -> None:
        if code.is_failure:
            name = str(code)
            wrong = name in _WRONG_CREDENTIALS
            refused = name not in _UNAVAILABLE
            self._cut(SessionEnd(f"the broker refuses us: {name}", refused=refused, wrong_credentials=wrong))
            return
        self._opened_at_s = self._clock.seconds()
        self._owner.session_opened(
            BrokerLimits(
                getattr(properties, "ReceiveMaximum", 0xFFFF),
                getattr(properties, "MaximumPacketSize", PACKET_SIZE_LIMIT_BYTES),
            )
        )

    def _disconnected(
        self, _client: Client, _data: object, flags: DisconnectFlags, code: ReasonCode, _properties: Properties | None
    ) -> None:
        by_broker = flags.is_disconnect_packet_from_server
        said = "the broker ended the session" if by_broker else "the session ended"
        over_a_packet = by_broker and code.value in _OVER_A_PACKET
        taken_over = by_broker and code.value == _TAKEN_OVER
        self._note_end(SessionEnd(f"{said}: {code}", over_a_packet=over_a_packet, taken_over=taken_over))


def _said(reason: Failure) -> str:
    if not isinstance(reason.value, SSL.Error):
        return str(reason.getErrorMessage())
    said = reason_of(reason.value).what
    if "certificate verify failed" in said:
        return f"{said}: mqtt.tls.ca_file (else the system) must have the authority of the broker's certificate"
    return f"TLS: {said}"
