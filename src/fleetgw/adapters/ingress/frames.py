"""Reads the frames of one open connection: whole data frames on the fast path, all others with Autobahn's reader."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.adapters.ingress.fast_frames import BYTES_AT_ONCE, split
from fleetgw.domain.line_limit import cut
from fleetgw.domain.records import Envelope

if TYPE_CHECKING:
    from fleetgw.adapters.ingress.autobahn_frames import FrameReader, ReaderHost
    from fleetgw.adapters.ingress.context import ConnectionContext
    from fleetgw.domain.ports import ISession


class Frames:
    """Splits a connection's bytes into messages.

    :param host: the connection, which handles messages that Autobahn has read and writes Autobahn's frames.
    :ivar reader: Autobahn's; None between two messages, unless the connection is closing.
    :ivar incomplete_since: time of the first byte of an incomplete message; None between messages.
    """

    __slots__ = ("_context", "_host", "_session", "incomplete_since", "reader")

    def __init__(self, context: ConnectionContext, host: ReaderHost, session: ISession) -> None:
        self._context = context
        self._host = host
        self._session = session
        self.reader: FrameReader | None = None
        self.incomplete_since: float | None = None

    @property
    def is_finished(self) -> bool:
        """Whether the closing handshake is complete, or the peer violated the protocol."""
        return self.reader is not None and self.reader.finished

    @property
    def end(self) -> str:
        """The reason for which ``is_finished`` is true, for people."""
        if self.reader is None:
            return ""
        code, text = self.reader.localCloseCode, self.reader.localCloseReason
        whose = "the gateway ends the connection"
        if not self.reader.failedByMe:
            code, text, whose = self.reader.remoteCloseCode, self.reader.remoteCloseReason, "the vehicle ends the connection"
        return cut(f"{whose} with {code or 'no code'}" + (f": {text}" if text else ""))

    def read(self, data: bytes, heard_at: float, until: float) -> int:
        """Read until the vehicle's turn is over or the host is paused; feed Autobahn only the frames off the fast path.

        :param heard_at: time at which the bytes arrived.
        :param until: end of the vehicle's turn.
        :return: position of the first unread byte.
        """
        position = 0
        reader = self.reader
        if reader is not None:
            reader.frames_this_read = 0
        max_message_bytes = self._context.limits.max_message_bytes
        while position < len(data) and not self._host.is_paused and self._context.monotonic() < until:
            if reader is not None and reader.closing:
                break
            if reader is None or reader.idle:
                self.incomplete_since = None
                messages, position = split(data, position, BYTES_AT_ONCE, max_message_bytes, Envelope)
                if messages:
                    self._session.received(messages)
                    continue
            if reader is None:
                self.reader = reader = self._new_reader()
            size = reader.size_wanted
            reader.feed(data[position : position + size])
            position += size
        if reader is None:
            return position
        if reader.closing:
            if not reader.finished:
                reader.feed(data[position:])
            return len(data)
        if reader.idle:
            self.reader = self.incomplete_since = None
        elif self.incomplete_since is None:
            self.incomplete_since = heard_at
        return position

    def send_close(self, code: int, reason: str) -> None:
        """Begin the closing handshake."""
        self.reader = self.reader or self._new_reader()
        self.reader.send_close(code, reason)

    def _new_reader(self) -> FrameReader:
        return self._context.new_reader(self._host, self._context.limits.max_frame_bytes)
