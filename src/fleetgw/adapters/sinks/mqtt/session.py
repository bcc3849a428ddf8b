"""One MQTT session on the reactor.

paho keeps the session: connect, keep-alive, disconnect, and the broker's answers to these. Publishes and their
acknowledgements bypass it on the same connection, because ``paho.mqtt.client.Client.publish`` costs about 20 us and a
record is many publishes.
"""

from __future__ import annotations

import socket
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from attrs import evolve
from OpenSSL import SSL
from paho.mqtt.client import MQTT_ERR_SUCCESS
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
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
from fleetgw.adapters.sinks.mqtt.paho_client import PahoClient, PahoSocket
from fleetgw.adapters.sinks.mqtt.session_events import BrokerLimits, EndCause, SessionEnd

if TYPE_CHECKING:
    from collections.abc import Callable

    from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode
    from twisted.internet.interfaces import IDelayedCall, IReactorTime
    from twisted.python.failure import Failure

    from fleetgw.adapters.sinks.mqtt.paho_client import IConnection
    from fleetgw.adapters.sinks.mqtt.session_events import SessionOwner
    from fleetgw.adapters.sinks.mqtt.settings import MqttSettings

KEEP_ALIVE_CHECK_INTERVAL_S = 1.0

READ_PAUSE_S = 0.001
"""Pause in which acknowledgements gather before the next read: mosquitto sends each by itself, and one read costs as much as
ten acknowledgements."""

_CAUSES = {
    **dict.fromkeys((0x80, 0x81, 0x82, 0x83, 0x87, 0x90, 0x95, 0x99, 0x9A, 0x9B), EndCause.BY_BROKER),
    0x8E: EndCause.TAKEN_OVER,
}
"""Causes by the reason code of an MQTT 5 DISCONNECT (3.14.2.1). A publish may have caused those of ``BY_BROKER``; reason
codes that are not listed concern the broker."""

_UNAVAILABLE = frozenset({"Server unavailable", "Server busy"})


def _tcp_acknowledger(connection: IConnection) -> Callable[[], object]:
    """A function that has the system acknowledge received data at once.

    Linux may delay TCP's acknowledgement by 40 ms. mosquitto sends MQTT's acknowledgements one by one with Nagle's algorithm
    on, so that each would wait for TCP's acknowledgement of the one before.
    """
    handle = socket_of(connection)
    if handle is None or not hasattr(socket, "TCP_QUICKACK"):
        return lambda: None
    return partial(handle.setsockopt, socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


@implementer(IPushProducer)
class MqttSession(Protocol):
    """The protocol of one connection to a broker. Once the connection is lost, no reference cycle is left."""

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
        """Send CONNECT."""
        self._connection = cast("IConnection", self.transport)
        self._connection.setTcpNoDelay(True)  # writes are large already: Nagle's algorithm would only delay them
        self._acknowledge_tcp = _tcp_acknowledger(self._connection)
        self._outgoing = Outgoing(self._connection)
        self._paho_socket = PahoSocket(self._connection, self._outgoing)
        self._client = PahoClient(self._settings, self._paho_socket)
        self._client.on_connect = self._connect_answered
        self._client.on_disconnect = self._disconnected
        self._connection.registerProducer(self, streaming=True)
        # paho would use host and port to reconnect, which it does not do here
        self._client.connect(self._settings.host, self._settings.port, self._settings.keep_alive_s)
        self._keep_alive = self._clock.callLater(KEEP_ALIVE_CHECK_INTERVAL_S, self._check_keep_alive)

    def dataReceived(self, data: bytes) -> None:
        """Take acknowledgements, and leave all other packets to paho."""
        self._wrote = False
        received = self._left_over + data
        try:
            if self._opened_at_s is None and received[0] != CONNACK:
                raise ProtocolError(f"it begins with {received[:20]!r}")
            acknowledgements, received = read_plain_pubacks(received)
            packets, self._left_over = read_packets(received)
            acknowledgements += self._read(packets)
        except ProtocolError as error:
            self.cut(SessionEnd(f"it answers, but not in MQTT: {error}"))
            return
        if acknowledgements:
            self._pause_reading()
            self._owner.acknowledged(acknowledgements)
        if not self._wrote:  # written data carries TCP's acknowledgement along
            self._acknowledge_tcp()

    def _pause_reading(self) -> None:
        if self._read_pause is None or not self._read_pause.active():  # TLS may hand over more data that was read before
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
                self._paho_socket.feed(packet.whole)
                if self._client.loop_read() != MQTT_ERR_SUCCESS:
                    raise ProtocolError(f"a packet that begins with byte {kind:#04x}")
        return acknowledgements

    def write(self, packets: bytes) -> None:
        """Send whole packets."""
        self._wrote = True
        if self._outgoing is not None:
            self._outgoing.write(packets)

    def disconnect(self) -> None:
        """Send DISCONNECT and close, once everything written is sent; does nothing while the session ends already."""
        if self._end is not None:
            return
        self._note_end(SessionEnd("we disconnected"))
        self._connection.unregisterProducer()
        if self._outgoing is not None:
            self._outgoing.flush()
        self._client.disconnect()

    def cut(self, end: SessionEnd) -> None:
        """Cut the connection at once."""
        self._note_end(end)
        self._connection.abortConnection()

    def _note_end(self, end: SessionEnd) -> None:
        """Keep the first reason: later ones follow from it."""
        self._end = self._end or end

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell the owner."""
        for call in (self._keep_alive, self._read_pause):
            if call is not None and call.active():
                call.cancel()
        end = self._end or SessionEnd(f"the connection was lost: {_text(reason)}", EndCause.BY_BROKER)
        if self._opened_at_s is not None:
            end = evolve(end, lasted_s=self._clock.seconds() - self._opened_at_s)
        self._break_cycles()
        self._owner.session_ended(end)

    def _break_cycles(self) -> None:
        """Free the unsent bytes now, which may be megabytes: full garbage collections are rare."""
        self._client.on_connect = self._client.on_disconnect = None
        self._keep_alive = self._read_pause = self._outgoing = None
        below: Any = self._connection  # Any: no interface has the transport below a transport
        while below is not None:
            if (connector := getattr(below, "connector", None)) is not None:
                connector.transport = None  # Twisted's connector and its connection refer to each other
            below = getattr(below, "transport", None)
        self.transport = None
        del self._connection, self._client, self._paho_socket, self._acknowledge_tcp

    def pauseProducing(self) -> None:
        """The broker reads too slowly."""
        if self._outgoing is not None:
            self._outgoing.pause()

    def resumeProducing(self) -> None:
        """The broker has caught up."""
        if self._outgoing is not None:
            self._outgoing.resume()
            if not self._outgoing.full:
                self._owner.session_resumed()

    def stopProducing(self) -> None:
        """The connection ends: ``connectionLost`` follows."""

    def _check_keep_alive(self) -> None:
        self._keep_alive = self._clock.callLater(KEEP_ALIVE_CHECK_INTERVAL_S, self._check_keep_alive)
        self._client.loop_misc()

    def _connect_answered(
        self, _client: Client, _data: object, _flags: ConnectFlags, code: ReasonCode, properties: Properties | None
    ) -> None:
        if code.is_failure:
            name = str(code)
            cause = EndCause.UNKNOWN if name in _UNAVAILABLE else EndCause.REFUSED
            self.cut(SessionEnd(f"the broker refuses us: {name}", cause))
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
        event = "the broker ended the session" if by_broker else "the session ended"
        cause = _CAUSES.get(code.value, EndCause.UNKNOWN) if by_broker else EndCause.UNKNOWN
        self._note_end(SessionEnd(f"{event}: {code}", cause))


def _text(reason: Failure) -> str:
    if not isinstance(reason.value, SSL.Error):
        return str(reason.getErrorMessage())
    text = reason_of(reason.value).what
    if "certificate verify failed" in text:
        return f"{text}: mqtt.tls.ca_file (else the system) must have the authority of the broker's certificate"
    return f"TLS: {text}"
