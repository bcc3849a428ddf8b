"""A pipelined connection: one thread that writes what is due, reads what comes, and connects again after every loss."""

from __future__ import annotations

import random
from threading import Lock, Thread
from typing import TYPE_CHECKING, Protocol

from fleetgw.adapters.sinks.redis.command_stream import LoggedOut, Misplaced
from fleetgw.adapters.sinks.redis.exchange import Lost, Talk, TimedOut, Waking
from fleetgw.adapters.sinks.redis.poison_records import Caution, Quarantined, Verdict
from fleetgw.domain.backoff import Backoff
from fleetgw.domain.errors import NotConnected
from fleetgw.domain.ports import NotReady, Ready

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetgw.adapters.sinks.redis.command_stream import Conversation
    from fleetgw.adapters.sinks.redis.connectors import FindServer, ServerConnection
    from fleetgw.adapters.sinks.redis.exchange import Clocks
    from fleetgw.adapters.sinks.redis.names import Names
    from fleetgw.adapters.sinks.redis.parts import Part
    from fleetgw.adapters.sinks.redis.settings import RedisSettings
    from fleetgw.domain.errors import DeliveryError
    from fleetgw.domain.ports import Readiness

RECONNECT_INITIAL_S = 0.05
RECONNECT_MAX_S = 0.5
"""A server that is back is found within about so long, however long it was away."""

ALONE_TIMEOUTS = 10
"""A quarantined record delays no other record: it may take so many time-outs."""

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


class ThreadedPipe:
    """A ``Pipe`` with a thread of its own.

    :param name: of the thread, for people who look at a running process.
    :param alone: for quarantined records: one at a time, each over the connection as long as that lasts.
    """

    def __init__(
        self,
        name: str,
        find_server: FindServer,
        names: Names,
        settings: RedisSettings,
        listener: PipeListener,
        clocks: Clocks,
        *,
        alone: bool = False,
    ) -> None:
        self._name = name
        self._find_server = find_server
        self._names = names
        self._settings = settings
        self._timeout_s = settings.answer_timeout_s * (ALONE_TIMEOUTS if alone else 1)
        self._listener = listener
        self._clocks = clocks
        self._alone = alone
        self._lock = Lock()
        self._inbox: list[Part] = []
        self._quitting = False
        self._is_connecting = False
        self._waking = Waking()
        self._again: list[Part] = []
        self._backoff = Backoff(RECONNECT_INITIAL_S, RECONNECT_MAX_S)
        self._caution = Caution()

    def start(self) -> None:
        """Begin to connect."""
        Thread(target=self.run, name=self._name, daemon=True).start()

    def submit(self, part: Part) -> None:
        """Hand over to the thread, which is woken once for all that comes before it looks."""
        with self._lock:
            self._inbox.append(part)
            wake = len(self._inbox) == 1
        if wake:
            self._waking.wake()

    def quit(self) -> None:
        """End the thread; where it is just connecting, it ends on its own later, as looking up a name may take long."""
        with self._lock:
            self._quitting = True
            abandoned = self._is_connecting
        self._waking.wake()
        if abandoned:
            self._fail(self._take(), _STOPPING)
            self._listener.closed(self)

    # On the thread

    def run(self) -> None:
        """The thread's work, from the first connection to ``quit``."""
        while (connection := self._connect()) is not None:
            self._listener.changed(self, Ready())
            self._converse(connection)
            connection.disconnect()
        with self._lock:
            abandoned = self._is_connecting
        if not abandoned:
            self._fail(self._take(), _STOPPING)
            self._listener.closed(self)
        self._waking.close()

    def _connect(self) -> ServerConnection | None:
        """Try until there is a connection; None when the sink lets go meanwhile."""
        while self._begin_to_connect():
            error: NotConnected
            try:
                connection = self._find_server()
            except NotConnected as refusal:
                error = NotConnected(str(refusal))  # without its traceback, which would keep the connection
            except Exception as failure:  # of any kind: the thread must live
                error = NotConnected(f"{type(failure).__name__}: {failure}")
            else:
                if self._end_to_connect():
                    return connection
                connection.disconnect()
                return None
            if not self._end_to_connect():
                return None
            self._unreachable(error)
        return None

    def _begin_to_connect(self) -> bool:
        with self._lock:
            self._is_connecting = not self._quitting
            return self._is_connecting

    def _end_to_connect(self) -> bool:
        """False when the sink has let go meanwhile: it counts as closed then."""
        with self._lock:
            if not self._quitting:
                self._is_connecting = False
            return not self._quitting

    def _unreachable(self, error: NotConnected) -> None:
        """Pause before the next attempt; what comes meanwhile fails at once."""
        self._listener.changed(self, NotReady(str(error)))
        self._pause(error)

    def _pause(self, error: NotConnected | None) -> None:
        """Wait before the next attempt.

        :param error: what becomes of records meanwhile; None: they wait.
        """
        monotonic_s = self._clocks.monotonic_s
        resume_at = monotonic_s() + self._backoff.failed(random.random())  # noqa: S311  jitter needs no secrecy
        while True:
            self._waking.clear()
            if error is not None:
                self._fail(self._take(), error)
            wait_s = resume_at - monotonic_s()
            if self._quitting or wait_s <= 0:
                return
            self._clocks.wait(self._waking, None, writable=False, timeout_s=wait_s)

    def _converse(self, connection: ServerConnection) -> None:
        """Talk until the connection ends, for whatever reason."""
        talk = Talk(connection, self._names, self._settings, self._timeout_s, self._clocks, self._waking)
        reason: str | None = None
        timed_out = False
        try:
            self._keep_talking(talk)
        except TimedOut as error:
            reason, timed_out = str(error), True
        except (Lost, NotConnected) as error:
            reason = str(error)
        except OSError as error:
            reason = error.strerror or str(error)
        except Exception as error:  # of any kind: the thread must live
            reason = f"{type(error).__name__}: {error}"
        conversation = talk.conversation
        if conversation.replies_heard:
            self._backoff.succeeded()
            self._caution.answered()
        self._listener.settled(conversation.finished())
        if reason is None or conversation.refused_too_large:  # the server closed over one record, and has refused no other
            self._again = [*conversation.unfinished(), *self._again]
        else:
            self._lost(conversation, NotConnected(f"{connection.address}: {reason}"), timed_out=timed_out)

    def _keep_talking(self, talk: Talk) -> None:
        """Until the sink lets go, or the connection is due for replacement.

        :raises Lost, NotConnected, OSError: the connection is of no more use.
        """
        talk.begin()
        while True:
            self._waking.clear()
            if self._quitting:
                return
            if parts := self._admitted(talk.conversation):
                talk.say(parts)
            if not talk.go_on(may_end=not self._inbox and not self._again):
                return
            self._settle(talk.conversation)

    def _admitted(self, conversation: Conversation) -> list[Part]:
        """The records to publish now: all but those over which connections were lost."""
        if self._alone:
            self._again = _singles(self._take())
        window = 1 if self._alone else self._caution.window
        if window is None:
            return self._take()
        if not conversation.is_idle:
            return []
        if not self._again and not self._alone:
            self._caution.ended()
            return self._take()
        parts, self._again = self._again[:window], self._again[window:]
        return parts

    def _settle(self, conversation: Conversation) -> None:
        if finished := conversation.finished():
            self._listener.settled(finished)
            if conversation.is_idle:
                self._caution.passed()
            kinds = {type(result) for part in finished for result in part.results if isinstance(result, Misplaced)}
            if kinds:
                raise Lost("it does not know us any more" if LoggedOut in kinds else "it is a replica by now")

    def _lost(self, conversation: Conversation, lost: NotConnected, *, timed_out: bool) -> None:
        """The connection is lost: say what becomes of the records that have no result."""
        self._listener.changed(self, NotReady(str(lost)))
        parts = conversation.unfinished()
        head = conversation.head
        if head is None:
            self._fail([*parts, *self._taken_again()], lost)
        else:
            singles = _singles(parts)
            self._listener.settled([settled for part in parts if (settled := part.settled()) is not None])
            verdict = self._caution.lost(head, alone=timed_out or len(singles) == 1)
            if self._alone or verdict is Verdict.QUARANTINE_HEAD:
                guilty = [part for part in singles if part.records[0] is head]
                singles = [part for part in singles if part.records[0] is not head]
                self._fail(guilty, Quarantined(f"{lost} over this record"))
            self._again = [*singles, *self._again]
            if not self._alone and (timed_out or verdict is Verdict.SERVER_AT_FAULT):
                self._fail(self._taken_again(), lost)
        self._pause(None)  # whether the server is there the next attempt will tell: what is left can wait so long

    def _taken_again(self) -> list[Part]:
        again, self._again = self._again, []
        self._caution.ended()
        return again

    def _take(self) -> list[Part]:
        """What is to be published next: first what a connection has ended over without answering."""
        with self._lock:
            inbox, self._inbox = self._inbox, []
        again, self._again = self._again, []
        return again + inbox

    def _fail(self, parts: Sequence[Part], error: DeliveryError) -> None:
        for part in parts:
            part.fail(error)
        if parts:
            self._listener.settled(parts)


def _singles(parts: Sequence[Part]) -> list[Part]:
    return [single for part in parts for single in part.singles()]
