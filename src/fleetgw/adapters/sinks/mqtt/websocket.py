"""MQTT over WebSocket (MQTT 3.1.1, 6): binary frames, subprotocol ``mqtt``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri
from zope.interface import implementer

from fleetgw.adapters.sinks.mqtt.one_protocol import OneProtocol
from fleetgw.adapters.sinks.mqtt.packets import RECEIVED_SIZE_LIMIT_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IProtocol, IProtocolFactory
    from twisted.python.failure import Failure

SUBPROTOCOL = Subprotocol("mqtt")

_SIZE_LIMIT_BYTES = 2 * RECEIVED_SIZE_LIMIT_BYTES


class NoWebSocket(Exception):
    """The server does not speak MQTT over WebSocket."""


class WebSocketConnection(Protocol):
    """A protocol to the connection below, a transport to the protocol above, which it makes once the handshake is done.

    :param opened: makes the protocol above.
    :param failed: receives the reason why the handshake has failed.
    """

    def __init__(
        self, url: str, opened: Callable[[WebSocketConnection], IProtocol], failed: Callable[[Exception], None]
    ) -> None:
        self._websocket = ClientProtocol(parse_uri(url), subprotocols=[SUBPROTOCOL], max_size=_SIZE_LIMIT_BYTES)
        self._opened = opened
        self._failed = failed
        self._above: IProtocol | None = None

    # As the protocol of the connection below

    def connectionMade(self) -> None:
        """Send the handshake request."""
        self._websocket.send_request(self._websocket.connect())
        self._send()

    def dataReceived(self, data: bytes) -> None:
        """Read frames, and pass their data up."""
        self._websocket.receive_data(data)
        self._send()
        for event in self._websocket.events_received():
            if isinstance(event, Response):
                self._handshake_answered()
            elif isinstance(event, Frame) and self._above is not None:
                if event.opcode in (Opcode.BINARY, Opcode.CONT):
                    self._above.dataReceived(bytes(event.data))
                elif event.opcode is Opcode.TEXT:
                    self.abortConnection()

    def _handshake_answered(self) -> None:
        websocket = self._websocket
        if websocket.handshake_exc is not None:
            self._refuse(str(websocket.handshake_exc))
        elif websocket.subprotocol != SUBPROTOCOL:
            self._refuse(f"the server does not take the subprotocol {SUBPROTOCOL}")
        else:
            self._above = self._opened(self)
            self._above.makeConnection(self)  # type: ignore[arg-type]  # a transport, as far as the session asks for one

    def _refuse(self, reason: str) -> None:
        self._failed(NoWebSocket(f"no MQTT over WebSocket: {reason}"))
        self.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell the protocol above, and break reference cycles."""
        if self._above is not None:
            self._above.connectionLost(reason)
        else:
            self._websocket.receive_eof()
            self._failed(NoWebSocket(f"no MQTT over WebSocket: the connection was lost: {reason.getErrorMessage()}"))
        self._websocket.parser.close()  # it is a part of a reference cycle
        self.transport = self._above = None
        del self._opened, self._failed

    # As the transport of the protocol above

    @property
    def _below(self) -> Any:  # Any: TCP's or TLS's, which share no one interface
        return self.transport

    def _send(self) -> None:
        for data in self._websocket.data_to_send():
            if data:
                self._below.write(data)
            else:  # the library asks to close
                self._below.loseConnection()

    def write(self, data: bytes) -> None:
        """Send a binary frame."""
        if self._websocket.state is State.OPEN:
            self._websocket.send_binary(data)
            self._send()

    def loseConnection(self) -> None:
        """Send a close frame and close."""
        if self._websocket.state is State.OPEN:
            self._websocket.send_close(1000)
            self._send()
        self._below.loseConnection()

    def abortConnection(self) -> None:
        """Cut the connection."""
        self._below.abortConnection()

    def registerProducer(self, producer: object, streaming: bool) -> None:  # noqa: FBT001 - a transport's signature
        """See the transport below."""
        self._below.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """See the transport below."""
        self._below.unregisterProducer()

    def pauseProducing(self) -> None:
        """See the transport below."""
        self._below.pauseProducing()

    def resumeProducing(self) -> None:
        """See the transport below."""
        self._below.resumeProducing()

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: FBT001 - a transport's signature
        """See the transport below."""
        self._below.setTcpNoDelay(enabled)

    def getHandle(self) -> object:
        """See the transport below."""
        return self._below.getHandle()


@implementer(IStreamClientEndpoint)
class WebSocketEndpoint:
    """Connects over WebSocket; fires after the handshake.

    :param below: connects to the server.
    :param url: ``ws://host:port/path``, or with ``wss``.
    """

    def __init__(self, below: IStreamClientEndpoint, url: str) -> None:
        self._below = below
        self._url = url

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See ``IStreamClientEndpoint``."""
        attempt: Deferred[IProtocol] = Deferred(lambda _: cancel())

        def opened(_connection: WebSocketConnection) -> IProtocol:
            above = cast(
                "IProtocol", protocolFactory.buildProtocol(cast("Any", None))
            )  # Any: the session asks for no address
            attempt.callback(above)
            return above

        def failed(error: Exception) -> None:
            if not attempt.called:
                attempt.errback(error)

        def unreachable(failure: Failure) -> None:
            failed(failure.value)  # type: ignore[arg-type]  # an endpoint's is no KeyboardInterrupt

        def cancel() -> None:
            if connection.transport is not None:
                connection.abortConnection()
            else:
                connecting.cancel()

        connection = WebSocketConnection(self._url, opened, failed)
        connecting = self._below.connect(OneProtocol(connection))
        connecting.addErrback(unreachable)
        return attempt
