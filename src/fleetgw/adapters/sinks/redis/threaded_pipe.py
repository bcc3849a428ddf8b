"""A pipe with a thread of its own, which sends commands, receives replies, and connects again after every loss."""

from __future__ import annotations

import random
from threading import Lock, Thread
from typing import TYPE_CHECKING

from fleetgw.adapters.sinks.redis.exchange import Exchange, Lost, TimedOut
from fleetgw.adapters.sinks.redis.inbox import Inbox
from fleetgw.adapters.sinks.redis.poison_records import PoisonRecordDetector, Quarantined, Verdict
from fleetgw.adapters.sinks.redis.replies import LoggedOut, Misplaced
from fleetgw.adapters.sinks.redis.waiting import Waker
from fleetgw.domain.backoff import Backoff
from fleetgw.domain.errors import NotConnected
from fleetgw.domain.ports import NotReady, Ready

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetgw.adapters.sinks.redis.command_stream import CommandStream
    from fleetgw.adapters.sinks.redis.connectors import Connector
    from fleetgw.adapters.sinks.redis.names import Names
    from fleetgw.adapters.sinks.redis.parts import Part
    from fleetgw.adapters.sinks.redis.pipe import PipeListener
    from fleetgw.adapters.sinks.redis.server_connection import ServerConnection
    from fleetgw.adapters.sinks.redis.settings import RedisSettings
    from fleetgw.adapters.sinks.redis.waiting import Clocks
    from fleetgw.domain.errors import DeliveryError

RECONNECT_INITIAL_S = 0.05
RECONNECT_MAX_S = 0.5
"""Longest pause between attempts to connect: a server that is back is found about this soon, however long it was away."""

QUARANTINE_TIMEOUTS = 10
"""Time-outs that a quarantined record may take: it delays no other record."""

_QUITTING = NotConnected("the sink is letting go of the connection")


class ThreadedPipe:
    """See ``Pipe``.

    :param name: of the thread, as debuggers and profilers show it.
    :param alone: for quarantined records: one record at a time, with a longer time-out.
    """

    def __init__(
        self,
        name: str,
        connector: Connector,
        names: Names,
        settings: RedisSettings,
        listener: PipeListener,
        clocks: Clocks,
        *,
        alone: bool = False,
    ) -> None:
        self._name = name
        self._connector = connector
        self._names = names
        self._settings = settings
        self._timeout_s = settings.answer_timeout_s * (QUARANTINE_TIMEOUTS if alone else 1)
        self._listener = listener
        self._clocks = clocks
        self._alone = alone
        self._waker = Waker()
        self._inbox = Inbox(self._waker)
        self._resend: list[Part] = []  # in flight when a connection was lost
        self._lock = Lock()
        self._quitting = False
        self._is_connecting = False
        self._backoff = Backoff(RECONNECT_INITIAL_S, RECONNECT_MAX_S)
        self._detector = PoisonRecordDetector()

    def start(self) -> None:
        """See ``Pipe``."""
        Thread(target=self.run, name=self._name, daemon=True).start()

    def submit(self, part: Part) -> None:
        """See ``Pipe``."""
        self._inbox.add(part)

    def quit(self) -> None:
        """See ``Pipe``. The pipe counts as closed at once while it connects: looking up a host name may take long."""
        with self._lock:
            self._quitting = True
            is_connecting = self._is_connecting
        self._waker.wake()
        if is_connecting:
            self._fail(self._take(), _QUITTING)
            self._listener.pipe_closed(self)

    # On the thread

    def run(self) -> None:
        """Work until ``quit``."""
        while (connection := self._connect()) is not None:
            self._listener.pipe_changed(self, Ready())
            self._use(connection)
            connection.disconnect()
        with self._lock:
            is_closed = self._is_connecting  # see ``quit``
        if not is_closed:
            self._fail(self._take(), _QUITTING)
            self._listener.pipe_closed(self)
        self._waker.close()

    def _connect(self) -> ServerConnection | None:
        """Try until there is a connection; None after ``quit``."""
        while self._begin_connecting():
            error: NotConnected
            try:
                connection = self._connector()
            except NotConnected as refusal:
                error = NotConnected(str(refusal))  # without its traceback, which refers to the connection
            except Exception as failure:  # of any kind: the thread must go on
                error = NotConnected(f"{type(failure).__name__}: {failure}")
            else:
                if self._end_connecting():
                    return connection
                connection.disconnect()
                return None
            if not self._end_connecting():
                return None
            self._listener.pipe_changed(self, NotReady(str(error)))
            self._pause(error)
        return None

    def _begin_connecting(self) -> bool:
        """Returns False after ``quit``."""
        with self._lock:
            self._is_connecting = not self._quitting
            return self._is_connecting

    def _end_connecting(self) -> bool:
        """Returns False after ``quit``, which has reported the pipe as closed then."""
        with self._lock:
            if not self._quitting:
                self._is_connecting = False
            return not self._quitting

    def _pause(self, error: NotConnected | None) -> None:
        """Wait before the next attempt to connect.

        :param error: the result of records that come meanwhile; None: they wait.
        """
        monotonic_s = self._clocks.monotonic_s
        resume_at = monotonic_s() + self._backoff.failed(random.random())  # noqa: S311  jitter needs no secrecy
        while True:
            self._waker.clear()
            if error is not None:
                self._fail(self._take(), error)
            wait_s = resume_at - monotonic_s()
            if self._quitting or wait_s <= 0:
                return
            self._clocks.wait(self._waker, None, writable=False, timeout_s=wait_s)

    def _use(self, connection: ServerConnection) -> None:
        """Publish until the connection ends, for any reason."""
        exchange = Exchange(connection, self._names, self._settings, self._timeout_s, self._clocks, self._waker)
        reason: str | None = None
        timed_out = False
        try:
            self._publish_until_end(exchange)
        except TimedOut as error:
            reason, timed_out = str(error), True
        except (Lost, NotConnected) as error:
            reason = str(error)
        except OSError as error:
            reason = error.strerror or str(error)
        except Exception as error:  # of any kind: the thread must go on
            reason = f"{type(error).__name__}: {error}"
        stream = exchange.stream
        if stream.replies_taken:
            self._backoff.succeeded()
            self._detector.server_replied()
        self._listener.parts_settled(stream.take_finished())
        if reason is None or stream.refused_too_large:  # the server closed over one record, which has its result
            self._resend = [*stream.unfinished(), *self._resend]
        else:
            self._lost(stream, NotConnected(f"{connection.address}: {reason}"), timed_out=timed_out)

    def _publish_until_end(self, exchange: Exchange) -> None:
        """Publish until ``quit``, or until the connection is due for replacement.

        :raises Lost, NotConnected, OSError: the connection is lost.
        """
        exchange.begin()
        while True:
            self._waker.clear()
            if self._quitting:
                return
            if parts := self._next_parts(exchange.stream):
                exchange.publish(parts)
            if not exchange.step(may_end=not self._inbox and not self._resend):
                return
            self._settle(exchange.stream)

    def _next_parts(self, stream: CommandStream) -> list[Part]:
        """The records to publish now; a window limits those that were in flight when a connection was lost."""
        if self._alone:
            self._resend = _singles(self._take())
        window = 1 if self._alone else self._detector.window
        if window is None:
            return self._take()
        if not stream.is_idle:
            return []
        if not self._resend and not self._alone:
            self._detector.reset()
            return self._take()
        parts, self._resend = self._resend[:window], self._resend[window:]
        return parts

    def _settle(self, stream: CommandStream) -> None:
        """Report new results.

        :raises Lost: by one of them, the connection is of no more use.
        """
        if finished := stream.take_finished():
            self._listener.parts_settled(finished)
            if stream.is_idle:
                self._detector.window_answered()
            kinds = {type(result) for part in finished for result in part.results if isinstance(result, Misplaced)}
            if kinds:
                raise Lost("it does not know us any more" if LoggedOut in kinds else "it is a replica by now")

    def _lost(self, stream: CommandStream, lost: NotConnected, *, timed_out: bool) -> None:
        """Decide on the records in flight on a lost connection: send them again, quarantine one, or fail them."""
        self._listener.pipe_changed(self, NotReady(str(lost)))
        parts = stream.unfinished()
        first = stream.first_unanswered
        if first is None:
            self._fail([*parts, *self._take_resend()], lost)
        else:
            singles = _singles(parts)
            self._listener.parts_settled([settled for part in parts if (settled := part.settled()) is not None])
            verdict = self._detector.connection_lost(first, alone=timed_out or len(singles) == 1)
            if self._alone or verdict is Verdict.QUARANTINE:
                poison = [part for part in singles if part.records[0] is first]
                singles = [part for part in singles if part.records[0] is not first]
                self._fail(poison, Quarantined(f"{lost} over this record"))
            self._resend = [*singles, *self._resend]
            if not self._alone and (timed_out or verdict is Verdict.SERVER_AT_FAULT):
                self._fail(self._take_resend(), lost)
        self._pause(None)  # the other records wait for the next attempt to connect, which decides on them

    def _take(self) -> list[Part]:
        """Take all records: first those to be sent again."""
        inbox = self._inbox.take()
        resend, self._resend = self._resend, []
        return resend + inbox

    def _take_resend(self) -> list[Part]:
        resend, self._resend = self._resend, []
        self._detector.reset()
        return resend

    def _fail(self, parts: Sequence[Part], error: DeliveryError) -> None:
        for part in parts:
            part.fail(error)
        if parts:
            self._listener.parts_settled(parts)


def _singles(parts: Sequence[Part]) -> list[Part]:
    return [single for part in parts for single in part.singles()]
