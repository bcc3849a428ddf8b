"""paho's client on a connection that Twisted has made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paho.mqtt.client import Client, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion

if TYPE_CHECKING:
    from paho.mqtt.client import SocketLike
    from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport

    from fleetgw.adapters.sinks.mqtt.outgoing import Outgoing
    from fleetgw.adapters.sinks.mqtt.settings import MqttSettings

    class IConnection(ITCPTransport, IConsumer, IPushProducer):
        """Twisted's TCP and TLS connections, which provide all three."""


class PahoSocket:
    """The socket that paho sees: it sends through Twisted's transport, and receives the packets that ``feed`` is given."""

    def __init__(self, transport: IConnection, outgoing: Outgoing) -> None:
        self._transport = transport
        self._outgoing = outgoing
        self._received = b""

    def feed(self, packet: bytes) -> None:
        """Have paho receive a packet at its next ``loop_read``."""
        self._received += packet

    def send(self, buffer: bytes | bytearray) -> int:
        """See ``socket.socket``."""
        self._outgoing.write(bytes(buffer))
        return len(buffer)

    def recv(self, buffer_size: int) -> bytes:
        """See ``socket.socket``."""
        if not self._received:
            raise BlockingIOError
        received, self._received = self._received[:buffer_size], self._received[buffer_size:]
        return received

    def close(self) -> None:
        """See ``socket.socket``."""
        self._transport.loseConnection()

    def fileno(self) -> int:
        """See ``socket.socket``: there is no descriptor to wait for."""
        return -1

    def setblocking(self, flag: bool) -> None:  # noqa: FBT001 - a socket's signature
        """Never blocks."""


class PahoClient(Client):
    """Keeps one MQTT session: connect, keep-alive, disconnect."""

    def __init__(self, settings: MqttSettings, connection: PahoSocket) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=settings.client_id,
            protocol=MQTTv5 if settings.is_mqtt5 else MQTTv311,
            reconnect_on_failure=False,
        )
        self._connection = connection
        if settings.username:
            self.username_pw_set(settings.username, settings.password)

    def _create_socket(self) -> SocketLike:
        return self._connection  # the one place where paho accepts another transport
