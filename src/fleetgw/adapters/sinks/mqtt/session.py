"""One MQTT session on the reactor.

paho keeps the session: connect, keep-alive, disconnect, and what a broker has to say about these. Publishes and their
acknowledgements go past it on the same connection, because ``paho.mqtt.client.Client.publish`` costs about 20 us and a
record is many publishes.
"""

from __future__ import annotations

import socket
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, cast

from attrs import frozen
from paho.mqtt.client import MQTT_ERR_SUCCESS, Client, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.internet.task import LoopingCall
from zope.interface import implementer

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


@frozen
class BrokerLimits:
    """What a broker allows (MQTT 5, 3.2.2.3; earlier ones do not say).

    :ivar in_flight: publishes of QoS 1 and 2 that it takes before it has acknowledged the first.
    :ivar packet_size_bytes: the largest packet.
    """

    in_flight: int
    packet_size_bytes: int


class SessionOwner(Protocol):
    """Who is told what happens to a session. After ``session_ended`` nothing is called."""

    def session_opened(self, limits: BrokerLimits) -> None:
        """The broker has let us in."""

    def acknowledged(self, acknowledgements: list[tuple[int, int]]) -> None:
        """The broker has taken publishes, or refused them: packet identifiers and reason codes."""

    def session_resumed(self) -> None:
        """The connection takes data again, after ``paused``."""

    def session_ended(self, reason: str, *, over_a_packet: bool) -> None:
        """The session is over, or has never begun.

        :param reason: for people.
        :param over_a_packet: the broker has ended it, and what we sent may be why.
        """


class _Wire:
    """The socket that paho sees: what it sends goes to Twisted's transport, what it reads is one packet at a time."""

    def __init__(self, transport: IConnection) -> None:
        self._transport = transport
        self._received = b""

    def feed(self, packet: bytes) -> None:
        self._received += packet

    def send(self, buffer: bytes | bytearray) -> int:
        self._transport.write(bytes(buffer))
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
    tcp: Any = getattr(connection, "transport", connection)  # also below TLS; Any: no interface tells of handles
    handle = tcp.getHandle()
    if not isinstance(handle, socket.socket) or not hasattr(socket, "TCP_QUICKACK"):
        return lambda: None
    return partial(handle.setsockopt, socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


@implementer(IPushProducer)
class MqttSession(TwistedProtocol):
    """The protocol of one connection to a broker.

    :ivar paused: the connection takes no more data for now.
    """

    def __init__(self, settings: MqttSettings, owner: SessionOwner, clock: IReactorTime) -> None:
        self._settings = settings
        self._owner = owner
        self._clock = clock
        self._left_over = b""
        self._opened = False
        self._wrote = False
        self._reason = ""
        self._over_a_packet = True
        self.paused = False
        self._read_pause: IDelayedCall | None = None
        self._keep_alive = LoopingCall(self._check_keep_alive)
        self._keep_alive.clock = clock

    def connectionMade(self) -> None:
        """Introduce ourselves."""
        self._connection = cast("IConnection", self.transport)
        self._connection.setTcpNoDelay(True)  # what is written is a burst already: it need not wait for company
        self._acknowledge_tcp = _tcp_acknowledger(self._connection)
        self._wire = _Wire(self._connection)
        self._client = _Paho(self._settings, self._wire)
        self._client.on_connect = self._answered
        self._client.on_disconnect = self._disconnected
        self._connection.registerProducer(self, streaming=True)
        # host and port are paho's for reconnecting, which is ours
        self._client.connect(self._settings.host, self._settings.port, self._settings.keep_alive_s)
        self._keep_alive.start(KEEP_ALIVE_CHECK_INTERVAL_S, now=False)

    def dataReceived(self, data: bytes) -> None:
        """Take acknowledgements; what else there is, is paho's."""
        self._wrote = False
        received = self._left_over + data
        try:
            if not self._opened and received[0] != CONNACK:
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
                    self._connection.write(pubrel(identifier))
            else:
                self._wire.feed(packet.whole)
                if self._client.loop_read() != MQTT_ERR_SUCCESS:
                    raise ProtocolError(f"a packet that begins with byte {kind:#04x}")
        return acknowledgements

    def write(self, packets: bytes) -> None:
        """Send PUBLISH packets."""
        self._wrote = True
        self._connection.write(packets)

    def disconnect(self) -> None:
        """Say goodbye and close, once everything written is sent."""
        self._note_end("we disconnected", over_a_packet=False)
        self._connection.unregisterProducer()
        self._client.disconnect()

    def end(self, reason: str) -> None:
        """Cut the connection at once."""
        self._note_end(reason, over_a_packet=False)
        self._connection.abortConnection()

    def _note_end(self, reason: str, *, over_a_packet: bool) -> None:
        """What is known first is the cause."""
        if not self._reason:
            self._reason, self._over_a_packet = reason, over_a_packet

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell the owner."""
        if self._keep_alive.running:
            self._keep_alive.stop()
        if self._read_pause is not None and self._read_pause.active():
            self._read_pause.cancel()
        why = self._reason or f"the connection was lost: {reason.getErrorMessage()}"
        self._owner.session_ended(why, over_a_packet=self._over_a_packet)

    def pauseProducing(self) -> None:
        """The broker reads too slowly."""
        self.paused = True

    def resumeProducing(self) -> None:
        """It has caught up."""
        self.paused = False
        self._owner.session_resumed()

    def stopProducing(self) -> None:
        """The connection goes: ``connectionLost`` says so."""

    def _check_keep_alive(self) -> None:
        self._client.loop_misc()

    def _answered(
        self, _client: Client, _data: object, _flags: ConnectFlags, code: ReasonCode, properties: Properties | None
    ) -> None:
        if code.is_failure:
            self.end(f"the broker refuses us: {code}")
            return
        self._opened = True
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
        self._note_end(f"{said}: {code}", over_a_packet=by_broker and code.value in _OVER_A_PACKET)
