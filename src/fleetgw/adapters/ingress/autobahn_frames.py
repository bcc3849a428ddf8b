"""Frames off the fast path: control frames, fragments, partial frames, violations, the closing handshake.

Autobahn reads them. A reader is created with the first such byte and dropped between two messages, so that an idle vehicle
costs no memory here.
"""

from __future__ import annotations

from typing import Protocol

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol

from fleetgw.adapters.ingress.fast_frames import frame_size_needed

UNSUPPORTED_DATA = 1003
POLICY_VIOLATION = 1008
MAX_FRAGMENTS = 4096
"""Maximum number of frames of one message."""
MAX_FRAMES_PER_READ = 1024
"""Maximum number of frames of one read that Autobahn reads: each blocks the reactor for some ten microseconds."""


class ReaderHost(Protocol):
    """The connection as its reader sees it; also the transport that Autobahn writes to.

    :ivar is_paused: whether no further message is to be read for now.
    """

    is_paused: bool

    def write(self, data: bytes) -> None:
        """Send bytes, in the order of the calls."""

    def message_read(self, payload: bytes) -> None:
        """Handle a whole binary message."""


class _Quiet:
    """Discards Autobahn's log: the connection logs each event once."""

    def debug(self, *_args: object, **_fields: object) -> None:
        pass

    info = warn = error = debug


class FrameReader(WebSocketServerProtocol):
    """Autobahn's server protocol, starting in the open state."""

    log = _Quiet()
    # empty: Autobahn would copy and pretty-print these attributes of the factory for each connection
    CONFIG_ATTRS: list[str] = []
    logOctets = logFrames = trackTimings = failByDrop = echoCloseCodeReason = False
    utf8validateIncoming = applyMask = requireMaskedClientFrames = True
    maskServerFrames = False
    openHandshakeTimeout = closeHandshakeTimeout = autoPingInterval = autoPingTimeout = 0
    autoFragmentSize = 0
    autoPingRestartOnAnyTraffic = False
    websocket_version = 13

    def __init__(self, host: ReaderHost, factory: WebSocketServerFactory, max_frame_bytes: int) -> None:
        super().__init__()
        self.factory = factory
        self._host = host
        self.transport = host  # type: ignore[assignment]  # Autobahn calls the methods of ``ReaderHost`` alone
        self.maxFramePayloadSize = self.maxMessagePayloadSize = max_frame_bytes
        self._connectionMade()
        self.state = self.STATE_OPEN
        self.inside_message = False
        self.current_frame = None  # type: ignore[assignment]  # as Autobahn itself does when a handshake succeeds
        self._message = bytearray()
        self._fragments = 0
        self.frames_this_read = 0

    @property
    def idle(self) -> bool:
        """Whether the fast path may continue: between two messages, nothing buffered, not closing."""
        return bool(
            self.state == self.STATE_OPEN and self.current_frame is None and not self.data and not self.inside_message
        )

    @property
    def closing(self) -> bool:
        """Whether a close frame was sent: no further message is handled."""
        return bool(self.state != self.STATE_OPEN)

    @property
    def finished(self) -> bool:
        """Whether reading is over: the closing handshake is complete, or the peer violated the protocol."""
        return bool(self.state == self.STATE_CLOSED or self.failedByMe)

    @property
    def size_wanted(self) -> int:
        """Number of bytes to feed next, so that none after the current frame is consumed."""
        if self.current_frame is None:
            return frame_size_needed(self.data) - len(self.data)
        return int(self.current_frame.length - self.current_frame_masker.pointer())

    def feed(self, data: bytes) -> None:
        """Read bytes."""
        self._dataReceived(data)

    def onFrameBegin(self) -> None:
        """Count a frame; end the connection when there are too many."""
        self.frames_this_read += 1
        if self.frames_this_read > MAX_FRAMES_PER_READ and not self.failedByMe:
            self._fail_connection(POLICY_VIOLATION, f"more than {MAX_FRAMES_PER_READ} small frames at once")
        super().onFrameBegin()

    def onMessageBegin(self, isBinary: bool) -> None:  # noqa: FBT001  Autobahn's signature
        """Begin a message; refuse a text message."""
        super().onMessageBegin(isBinary)
        self._message.clear()
        self._fragments = 0
        if not isBinary and not self.closing:
            self._fail_connection(UNSUPPORTED_DATA, "only binary messages are processed")

    def onMessageFrameBegin(self, length: int) -> None:
        """Begin a fragment. The announced length is checked here, before any byte is buffered."""
        self._fragments += 1
        if self._fragments > MAX_FRAGMENTS and not self.failedByMe:
            self._fail_connection(POLICY_VIOLATION, f"a message of more than {MAX_FRAGMENTS} fragments")
        super().onMessageFrameBegin(length)

    def onMessageFrameData(self, payload: bytes) -> None:
        """Buffer bytes of a fragment, in one buffer: a list would cost forty bytes per byte that arrives alone."""
        if not self.closing:
            self._message += payload

    def onMessageFrameEnd(self) -> None:
        """Do nothing at the end of a fragment."""

    def onMessageEnd(self) -> None:
        """Hand over a whole message."""
        if not self.closing:
            self._host.message_read(bytes(self._message))
        self._message = bytearray()

    def onPong(self, payload: bytes) -> None:
        """Do nothing: any byte proves that the vehicle is alive, not only a pong."""

    def sendCloseFrame(self, code: int | None = None, reasonUtf8: bytes | None = None, isReply: bool = False) -> None:  # noqa: FBT001, FBT002  Autobahn's signature
        """Send a close frame; a reply repeats the peer's code, as the Go server does."""
        if isReply:
            code = self.remoteCloseCode
        super().sendCloseFrame(code, reasonUtf8, isReply)

    def dropConnection(self, abort: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002  Autobahn's signature
        """Mark the end, which the connection reads from ``finished``."""
        self.state = self.STATE_CLOSED

    def send_close(self, code: int, reason: str) -> None:
        """Begin the closing handshake with any code; Autobahn's own method only allows a client's codes."""
        self.sendCloseFrame(code=code, reasonUtf8=reason.encode()[:123].decode(errors="ignore").encode(), isReply=False)
