"""Everything that is not a whole data frame: control frames, fragments, partial frames, violations, the closing handshake.

Autobahn reads these. A reader is made when the first such byte comes and dropped once it stands between two messages again,
so that an idle vehicle costs nothing here.
"""

from __future__ import annotations

from typing import Protocol

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol

from fleetgw.adapters.ingress.fast_frames import frame_size_needed

UNSUPPORTED_DATA = 1003
POLICY_VIOLATION = 1008
MAX_FRAGMENTS = 4096
"""Frames of one message."""
MAX_CONTROL_FRAMES = 512
"""Pings and pongs in one read."""


class ReaderHost(Protocol):
    """What a reader needs of its connection; also the transport that Autobahn writes to."""

    def write(self, data: bytes) -> None:
        """Send bytes after those written before."""

    def loseConnection(self) -> None:
        """Close once everything written has gone out."""

    def abortConnection(self) -> None:
        """Close at once."""

    def unregisterProducer(self) -> None:
        """Autobahn calls this before it closes; there is never a producer."""

    def message_read(self, payload: bytes) -> None:
        """A whole binary message has come."""


class _Quiet:
    """Autobahn's log: nothing. The connection logs what an operator needs, once."""

    def debug(self, *_args: object, **_fields: object) -> None:
        pass

    info = warn = error = debug


class FrameReader(WebSocketServerProtocol):
    """Autobahn's server protocol, from the open state on."""

    log = _Quiet()
    # with no attributes to copy from the factory, Autobahn neither copies nor pretty-prints them for each connection
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
        self.transport = host  # type: ignore[assignment]  # Autobahn calls what ``ReaderHost`` names and no more
        self.maxFramePayloadSize = self.maxMessagePayloadSize = max_frame_bytes
        self._connectionMade()
        self.state = self.STATE_OPEN
        self.inside_message = False
        self.current_frame = None  # type: ignore[assignment]  # as Autobahn itself does when a handshake succeeds
        self.fragments = 0
        self.control_frames = 0

    @property
    def idle(self) -> bool:
        """Between two messages, nothing held, not closing: the fast path may go on."""
        return bool(
            self.state == self.STATE_OPEN and self.current_frame is None and not self.data and not self.inside_message
        )

    @property
    def closing(self) -> bool:
        """A close frame was sent, or the connection was given up."""
        return bool(self.state != self.STATE_OPEN)

    @property
    def size_wanted(self) -> int:
        """How many bytes to feed next so that not one byte behind the current frame is taken."""
        if self.current_frame is None:
            return frame_size_needed(self.data) - len(self.data)
        return int(self.current_frame.length - self.current_frame_masker.pointer())

    def feed(self, data: bytes) -> None:
        """Read some bytes."""
        self._dataReceived(data)

    def onMessageBegin(self, isBinary: bool) -> None:  # noqa: FBT001  Autobahn's signature
        """A message begins: a text message is one too many."""
        super().onMessageBegin(isBinary)
        self.fragments = 0
        if not isBinary and not self.closing:
            self._fail_connection(UNSUPPORTED_DATA, "only binary messages are processed")

    def onMessageFrameBegin(self, length: int) -> None:
        """A fragment begins."""
        self.fragments += 1
        if self.fragments > MAX_FRAGMENTS and not self.failedByMe:
            self._fail_connection(POLICY_VIOLATION, f"a message of more than {MAX_FRAGMENTS} fragments")
        super().onMessageFrameBegin(length)

    def onMessageEnd(self) -> None:
        """A message is whole."""
        if not self.failedByMe and not self.closing:
            self._host.message_read(b"".join(self.message_data))
        self.message_data = []

    def _count_control_frame(self) -> None:
        self.control_frames += 1
        if self.control_frames > MAX_CONTROL_FRAMES:
            self._fail_connection(POLICY_VIOLATION, f"more than {MAX_CONTROL_FRAMES} control frames at once")

    def onPing(self, payload: bytes) -> None:
        """Answer, and count."""
        self._count_control_frame()
        super().onPing(payload)

    def onPong(self, payload: bytes) -> None:  # noqa: ARG002  Autobahn's signature
        """Count."""
        self._count_control_frame()

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:  # noqa: FBT001  Autobahn's signature
        """The connection itself tells the session."""

    def send_close(self, code: int, reason: str) -> None:
        """Begin the closing handshake, with any code (Autobahn's own method allows a client's only)."""
        self.sendCloseFrame(code=code, reasonUtf8=reason.encode()[:123], isReply=False)
