"""All but whole data frames: control frames, fragments, partial frames, violations, the closing handshake.

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
MAX_FRAMES_A_READ = 1024
"""Frames of one read that are Autobahn's: each costs some ten microseconds, in which no other vehicle is served."""


class ReaderHost(Protocol):
    """The connection, to its reader; also the transport that Autobahn writes to."""

    def write(self, data: bytes) -> None:
        """Send bytes after those written before."""

    def message_read(self, payload: bytes) -> None:
        """A whole binary message has come."""


class _Quiet:
    """Autobahn's log, discarded: the connection logs each event for an operator once."""

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
        """Between two messages, nothing held, not closing: the fast path may go on."""
        return bool(
            self.state == self.STATE_OPEN and self.current_frame is None and not self.data and not self.inside_message
        )

    @property
    def closing(self) -> bool:
        """A close frame was sent: no further message is taken."""
        return bool(self.state != self.STATE_OPEN)

    @property
    def finished(self) -> bool:
        """The closing handshake is over, or the peer broke the protocol: nothing is to be read any more."""
        return bool(self.state == self.STATE_CLOSED or self.failedByMe)

    @property
    def size_wanted(self) -> int:
        """How many bytes to feed next so that not one byte behind the current frame is taken."""
        if self.current_frame is None:
            return frame_size_needed(self.data) - len(self.data)
        return int(self.current_frame.length - self.current_frame_masker.pointer())

    def feed(self, data: bytes) -> None:
        """Read some bytes."""
        self._dataReceived(data)

    def onFrameBegin(self) -> None:
        """A frame's header is there."""
        self.frames_this_read += 1
        if self.frames_this_read > MAX_FRAMES_A_READ and not self.failedByMe:
            self._fail_connection(POLICY_VIOLATION, f"more than {MAX_FRAMES_A_READ} small frames at once")
        super().onFrameBegin()

    def onMessageBegin(self, isBinary: bool) -> None:  # noqa: FBT001  Autobahn's signature
        """A message begins: a text message is one too many."""
        super().onMessageBegin(isBinary)
        self._message.clear()
        self._fragments = 0
        if not isBinary and not self.closing:
            self._fail_connection(UNSUPPORTED_DATA, "only binary messages are processed")

    def onMessageFrameBegin(self, length: int) -> None:
        """A fragment begins; its announced length is checked here, before any of it is kept."""
        self._fragments += 1
        if self._fragments > MAX_FRAGMENTS and not self.failedByMe:
            self._fail_connection(POLICY_VIOLATION, f"a message of more than {MAX_FRAGMENTS} fragments")
        super().onMessageFrameBegin(length)

    def onMessageFrameData(self, payload: bytes) -> None:
        """Some bytes of a fragment. One buffer: a list of them would cost forty bytes for each that comes alone."""
        if not self.closing:
            self._message += payload

    def onMessageFrameEnd(self) -> None:
        """A fragment is whole."""

    def onMessageEnd(self) -> None:
        """A message is whole."""
        if not self.closing:
            self._host.message_read(bytes(self._message))
        self._message = bytearray()

    def onPong(self, payload: bytes) -> None:
        """Any byte shows that the vehicle lives; a pong shows no more."""

    def sendCloseFrame(self, code: int | None = None, reasonUtf8: bytes | None = None, isReply: bool = False) -> None:  # noqa: FBT001, FBT002  Autobahn's signature
        """Send a close frame; a reply has the code that the peer gave, as the Go server's."""
        if isReply:
            code = self.remoteCloseCode
        super().sendCloseFrame(code, reasonUtf8, isReply)

    def dropConnection(self, abort: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002  Autobahn's signature
        """The end: the connection sees it by ``finished``."""
        self.state = self.STATE_CLOSED

    def send_close(self, code: int, reason: str) -> None:
        """Begin the closing handshake, with any code (Autobahn's own method allows a client's only)."""
        self.sendCloseFrame(code=code, reasonUtf8=reason.encode()[:123].decode(errors="ignore").encode(), isReply=False)
