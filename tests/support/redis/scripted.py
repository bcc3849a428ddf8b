"""A scripted server in memory, under a test's clock, and a ``ThreadedPipe`` to it without a thread."""

from __future__ import annotations

import select
import socket
from typing import TYPE_CHECKING

from hiredis import Reader

from fleetgw.adapters.sinks.redis.settings import Address, read_settings
from fleetgw.adapters.sinks.redis.threaded_pipe import ThreadedPipe
from fleetgw.adapters.sinks.redis.waiting import Clocks
from fleetgw.domain.errors import NotConnected

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fleetgw.adapters.sinks.redis.names import Names
    from fleetgw.adapters.sinks.redis.parts import Part
    from fleetgw.adapters.sinks.redis.pipe import Pipe
    from fleetgw.adapters.sinks.redis.waiting import Waker
    from fleetgw.domain.ports import Readiness

HANG = None
"""The server does not answer this command, nor any after it."""

CLOSE = b""
"""The server closes the connection over this command."""

MANY_CONNECTIONS = 20_000

Reply = bytes | None


class ScriptedConnection:
    """One end of a pair of sockets; ``server`` has the other."""

    def __init__(self, server: ScriptedServer) -> None:
        self.address = Address("scripted", 6379)
        self.ours, self.theirs = socket.socketpair()
        if server.buffer_bytes:
            self.ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, server.buffer_bytes)
        self.theirs.settimeout(0)
        self.commands = Reader()
        self.hangs = False

    def take_socket(self) -> socket.socket:
        """See ``ServerConnection``."""
        return self.ours

    def disconnect(self) -> None:
        """Close both ends."""
        self.ours.close()
        self.theirs.close()


class ScriptedServer(Clocks):
    """Replies while the pipe waits; time passes while there is nothing to reply to.

    :param answer: the reply to a command, or ``HANG``, or ``CLOSE``.
    :ivar reachable: whether connections are accepted, by the time.
    :ivar bytes_per_s: rate of the link; 0: no limit.
    :ivar buffer_bytes: size of the socket's send buffer; 0: the system's default.
    :ivar closes_at_once: whether it closes every connection immediately.
    :ivar connected_at_s: times of connections.
    :ivar attempted_at_s: times of attempts to connect.
    :ivar received: every command, in order.
    """

    def __init__(self, answer: Callable[[list[bytes]], Reply], now_s: float = 1000.0) -> None:
        self.answer = answer
        self.now_s = now_s
        self.epoch_now_s = 1_700_000_000.0
        self.reachable: Callable[[float], bool] = lambda _now_s: True
        self.bytes_per_s = self.buffer_bytes = 0
        self.closes_at_once = False
        self.connected_at_s: list[float] = []
        self.attempted_at_s: list[float] = []
        self.received: list[list[bytes]] = []
        self._connection: ScriptedConnection | None = None

    def find(self) -> ScriptedConnection:
        """See ``Connector``."""
        self.now_s += 0.001
        self.attempted_at_s.append(self.now_s)
        if not self.reachable(self.now_s):
            raise NotConnected("scripted: Connection refused")
        self.connected_at_s.append(self.now_s)
        self._connection = ScriptedConnection(self)
        return self._connection

    def epoch_s(self) -> float:
        """The wall clock, which a test sets."""
        return self.epoch_now_s

    def monotonic_s(self) -> float:
        """The monotonic clock."""
        return self.now_s

    def wait(self, waker: Waker, server: socket.socket | None, *, writable: bool, timeout_s: float | None) -> bool:
        """Let the server reply, and time pass, until the socket is ready or the time is over."""
        poll = select.poll()
        poll.register(waker, select.POLLIN)
        if server is not None:
            poll.register(server, select.POLLIN | select.POLLOUT if writable else select.POLLIN)
        if len(self.attempted_at_s) > MANY_CONNECTIONS:
            raise AssertionError("the pipe connects for ever")
        until_s = None if timeout_s is None else self.now_s + timeout_s
        while True:
            self._act(server)
            if ready := poll.poll(0):
                return any(descriptor != waker.fileno() for descriptor, _ in ready)
            if until_s is None:
                raise AssertionError("the pipe waits for ever")
            if self.now_s >= until_s:
                return False
            self.now_s = min(until_s, self.now_s + 0.1)

    def _act(self, server: socket.socket | None) -> None:
        connection = self._connection
        if connection is None or server is not connection.ours or connection.hangs:
            return
        if self.closes_at_once or not self.reachable(self.now_s):
            connection.theirs.close()
            self._connection = None
            return
        try:
            data = connection.theirs.recv(int(self.bytes_per_s * 0.1) or 10**9)
        except BlockingIOError:
            return
        connection.commands.feed(data)
        while (command := connection.commands.gets()) is not False:
            self.received.append(command)
            reply = self.answer(command)
            if reply is HANG:
                connection.hangs = True
                return
            if reply == CLOSE:
                connection.theirs.close()
                self._connection = None
                return
            connection.theirs.sendall(reply)


class ScriptedRun:
    """A pipe to a ``ScriptedServer``, run to its end on the test's thread.

    :ivar readiness: its changes, with their times.
    :ivar settled_at_s: settled parts, with their times.
    """

    def __init__(self, server: ScriptedServer, names: Names, *, alone: bool = False, **settings: object) -> None:
        self.server = server
        self.readiness: list[tuple[float, Readiness]] = []
        self.settled_at_s: list[tuple[float, Part]] = []
        self.is_closed = False
        self.on_settled: Callable[[Part], None] = lambda _part: None
        self.on_changed: Callable[[Readiness], None] = lambda _readiness: None
        section = {"addrs": ["scripted:6379"], "publish_vin_topics": True, **settings}
        find: Callable[[], object] = server.find
        self.pipe = ThreadedPipe("scripted", find, names, read_settings("redis", section), self, server, alone=alone)  # type: ignore[arg-type]  # its connections are doubles

    def parts_settled(self, parts: Sequence[Part]) -> None:
        """See ``PipeListener``."""
        for part in parts:
            self.settled_at_s.append((self.server.now_s, part))
            self.on_settled(part)

    def pipe_changed(self, _pipe: Pipe, readiness: Readiness) -> None:
        """See ``PipeListener``."""
        self.readiness.append((self.server.now_s, readiness))
        self.on_changed(readiness)

    def pipe_closed(self, _pipe: Pipe) -> None:
        """See ``PipeListener``."""
        self.is_closed = True
