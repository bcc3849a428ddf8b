"""A pipelined connection: one thread that writes what is due, reads what comes, and connects again after every loss."""

from __future__ import annotations

import random
import select
import socket
import ssl
from contextlib import suppress
from threading import Lock, Thread
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from fleetgw.adapters.sinks.redis.conversation import Conversation, Misplaced
from fleetgw.domain.backoff import Backoff
from fleetgw.domain.errors import NotConnected
from fleetgw.domain.ports import NotReady, Ready

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fleetgw.adapters.sinks.redis.names import Names
    from fleetgw.adapters.sinks.redis.parts import Part
    from fleetgw.adapters.sinks.redis.servers import FindServer, ServerConnection
    from fleetgw.adapters.sinks.redis.settings import RedisSettings
    from fleetgw.domain.ports import Readiness

RECONNECT_INITIAL_S = 0.05
RECONNECT_MAX_S = 2.0

_READ_BYTES = 262_144
_WRITE_BYTES = 262_144
"""At most so much is offered to the socket at a time: TLS wants the same bytes again after a full buffer."""

_LATER = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

_STOPPING = NotConnected("the sink is letting go of the connection")


class PipeListener(Protocol):
    """Who is told, on a thread of the pipe's."""

    def settled(self, parts: Sequence[Part]) -> None:
        """Every record of these parts has a result."""

    def changed(self, pipe: Pipe, readiness: Readiness) -> None:
        """The connection stands, or is lost."""

    def closed(self, pipe: Pipe) -> None:
        """The thread has ended."""


class Pipe(Protocol):
    """A connection to one server, whichever is found; records in, results out by ``PipeListener``."""

    def start(self) -> None:
        """Begin to connect."""

    def submit(self, part: Part) -> None:
        """Publish the records of a part, after those of earlier parts. They fail where there is no connection."""

    def quit(self) -> None:
        """Let go of the connection, whatever is under way."""


class _Lost(Exception):
    """The connection has ended. ``str()`` says how."""


class ThreadedPipe:
    """A ``Pipe`` with a thread of its own.

    :param name: of the thread, for people who look at a running process.
    :param epoch_s: the wall clock.
    """

    def __init__(
        self,
        name: str,
        find_server: FindServer,
        names: Names,
        settings: RedisSettings,
        listener: PipeListener,
        epoch_s: Callable[[], float],
    ) -> None:
        self._name = name
        self._find_server = find_server
        self._names = names
        self._settings = settings
        self._listener = listener
        self._epoch_s = epoch_s
        self._lock = Lock()
        self._inbox: list[Part] = []
        self._quitting = False
        self._woken, self._waker = socket.socketpair()
        self._woken.settimeout(0)
        self._waker.settimeout(0)
        self._again: list[Part] = []
        self._backoff = Backoff(RECONNECT_INITIAL_S, RECONNECT_MAX_S)

    def start(self) -> None:
        """Begin to connect."""
        Thread(target=self._run, name=self._name, daemon=True).start()

    def submit(self, part: Part) -> None:
        """Hand over to the thread, which is woken once for all that comes before it looks."""
        with self._lock:
            self._inbox.append(part)
            wake = len(self._inbox) == 1
        if wake:
            self._wake()

    def quit(self) -> None:
        """End the thread; within the connect time-out where it is just connecting."""
        self._quitting = True
        self._wake()

    def _wake(self) -> None:
        with suppress(OSError):  # it has been woken often enough, or has ended
            self._waker.send(b"\0")

    # On the thread

    def _run(self) -> None:
        while not self._quitting:
            try:
                connection = self._find_server()
            except NotConnected as error:
                self._unreachable(error)
                continue
            except Exception as error:  # of any kind: the thread must live
                self._unreachable(NotConnected(f"{type(error).__name__}: {error}"))
                continue
            self._backoff.succeeded()
            self._listener.changed(self, Ready())
            self._converse(connection)
            connection.disconnect()
        self._fail(self._take(), _STOPPING)
        self._woken.close()
        self._waker.close()
        self._listener.closed(self)

    def _unreachable(self, error: NotConnected) -> None:
        """Pause before the next attempt; what comes meanwhile fails at once."""
        self._listener.changed(self, NotReady(str(error)))
        self._fail(self._take(), error)
        resume_at = monotonic() + self._backoff.failed(random.random())  # noqa: S311  jitter needs no secrecy
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        while not self._quitting and (wait_s := resume_at - monotonic()) > 0:
            self._fail(self._take(), error)
            poll.poll(wait_s * 1000)
        self._fail(self._take(), error)

    def _converse(self, connection: ServerConnection) -> None:
        """Talk until the connection ends, for whatever reason."""
        conversation = Conversation(self._names)
        lost: NotConnected | None = None
        try:
            self._talk(connection, conversation)
        except (_Lost, NotConnected) as error:
            lost = NotConnected(f"{connection.address}: {error}")
        except OSError as error:
            lost = NotConnected(f"{connection.address}: {error.strerror or error}")
        except Exception as error:  # of any kind: the thread must live
            lost = NotConnected(f"{connection.address}: {type(error).__name__}: {error}")
        parts = conversation.unfinished()
        self._listener.settled(conversation.finished())
        if conversation.refused_too_large and not self._quitting:
            self._again = parts  # the server closed over one record: the others have not been refused
            return
        if lost is not None:
            self._listener.changed(self, NotReady(str(lost)))
        self._fail(parts, lost or _STOPPING)

    def _talk(self, connection: ServerConnection, conversation: Conversation) -> None:
        """Until the sink stops, or the connection is due for replacement.

        :raises _Lost, NotConnected, OSError: the connection is of no more use.
        """
        server = connection.take_socket()
        server.settimeout(0)
        timeout_s = self._settings.answer_timeout_s
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        unsent = bytearray()
        opened_at = used_at = monotonic()
        while not self._quitting:
            if parts := self._take():
                used_at = monotonic()
                unsent += conversation.say(parts, int(self._epoch_s()), used_at + timeout_s)
            if unsent:
                self._write(server, unsent, conversation)
            self._settle(conversation)
            poll.register(server, select.POLLIN | select.POLLOUT if unsent else select.POLLIN)
            renew_at = None if conversation.deadline else self._renew_at(opened_at, used_at)
            until = conversation.deadline or renew_at
            ready = dict(poll.poll(None if until is None else max(0.0, until - monotonic()) * 1000 + 1))
            if ready.keys() - {self._woken.fileno()}:
                unsent += conversation.hear(_read(server), monotonic() + timeout_s)
            elif conversation.deadline and conversation.deadline <= monotonic():
                raise _Lost(f"no answer within {timeout_s:g} s")
            elif renew_at and renew_at <= monotonic() and not self._inbox:
                return

    def _renew_at(self, opened_at: float, used_at: float) -> float | None:
        limits = ((opened_at, self._settings.max_age_s), (used_at, self._settings.max_idle_s))
        return min((since + limit_s for since, limit_s in limits if limit_s is not None), default=None)

    def _write(self, server: socket.socket, unsent: bytearray, conversation: Conversation) -> None:
        """As much as the socket takes."""
        try:
            while unsent:
                with memoryview(unsent) as view:
                    sent = server.send(view[:_WRITE_BYTES])
                del unsent[:sent]
        except _LATER:
            pass
        except OSError:
            conversation.hear(_read(server), monotonic())  # before it closed it may have said which record it refuses
            raise

    def _settle(self, conversation: Conversation) -> None:
        if finished := conversation.finished():
            misplaced = any(isinstance(result, Misplaced) for part in finished for result in part.results)
            self._listener.settled(finished)
            if misplaced:
                raise _Lost("it is a replica by now")

    def _take(self) -> list[Part]:
        """What is to be published next: first what a connection has ended over without answering."""
        try:
            while self._woken.recv(4096):
                pass
        except BlockingIOError:
            pass
        with self._lock:
            inbox, self._inbox = self._inbox, []
        again, self._again = self._again, []
        return again + inbox

    def _fail(self, parts: Sequence[Part], error: NotConnected) -> None:
        for part in parts:
            part.fail(error)
        if parts:
            self._listener.settled(parts)


def _read(server: socket.socket) -> bytes:
    """Everything that is there.

    :raises _Lost: nothing is, and nothing will come any more.
    """
    data = b""
    try:
        while True:
            data += (read := server.recv(_READ_BYTES))
            if not (isinstance(server, ssl.SSLSocket) and server.pending()):
                break
    except _LATER:
        return data
    if not read and not data:
        raise _Lost("it closed the connection")
    return data
