"""What is said to one Redis server, and what its answers mean. Bytes in, bytes out: no sockets, no threads, no clock."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from hiredis import HiredisError, Reader, ReplyError, pack_command

from fleetgw.domain.errors import DeliveryError, NotConnected, Rejected, Retryable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fleetgw.adapters.sinks.redis.names import Names
    from fleetgw.adapters.sinks.redis.parts import Part
    from fleetgw.domain.records import Record

    _Expected = tuple[Part, int, list[bytes]]
    """A record, by its part and its place there, and the channels that it goes to."""

MAX_SUBSCRIBERS = 10_000
"""Of one vehicle: each of its records is published so many times. A larger set is one that is not cleaned up."""

_TOO_LARGE = "ERR Protocol error: invalid bulk length"
"""Redis says so of an argument above ``proto-max-bulk-len``, then closes the connection."""

_REFUSED_FOR_GOOD = "WRONGTYPE"
"""Other errors, such as a missing permission or a server that is loading, an operator or time can mend."""


class Moved(Retryable):
    """The vehicle's set is at another node of the cluster by now."""


class Misplaced(Retryable):
    """The server is a replica: another one is the master by now."""


class LoggedOut(Misplaced):
    """The server wants to know again who we are."""


class _Lookups:
    """Asked: who subscribes to the vehicles of these parts?"""

    def __init__(self, parts: Sequence[Part], keys: dict[bytes, Record], now_epoch_s: int) -> None:
        self.parts = parts
        self.subscribers: dict[bytes, list[bytes] | DeliveryError] = {}
        self.commands = self._commands([*keys], now_epoch_s)
        self._keys = deque(keys.items())
        self._error: DeliveryError | None = None
        self._removing = True

    @staticmethod
    def _commands(keys: list[bytes], now_epoch_s: int) -> Iterator[bytes]:
        ended, live = b"(%d" % now_epoch_s, b"%d" % now_epoch_s
        for key in keys:
            yield _packed("ZREMRANGEBYSCORE", key, "-inf", ended)
            yield _packed("ZRANGEBYSCORE", key, live, "+inf")

    @property
    def head(self) -> Record:
        """The first of the records whose answer is next."""
        return self._keys[0][1]

    def hear(self, reply: object) -> bool:
        """Take the next reply; True when it was the last."""
        error = _error(reply) if isinstance(reply, ReplyError) else None
        if self._removing:
            self._error = error
        else:
            subscribers = reply if isinstance(reply, list) else []
            if len(subscribers) > MAX_SUBSCRIBERS:
                error = Retryable(f"the vehicle's set has {len(subscribers)} members, more than {MAX_SUBSCRIBERS}")
            self.subscribers[self._keys.popleft()[0]] = self._error or error or subscribers
        self._removing = not self._removing
        return not self._keys


class _Publishes:
    """Said: these records, to these channels."""

    def __init__(self, parts: Sequence[Part], expected: list[_Expected]) -> None:
        self.parts = parts
        self.commands = self._commands(expected)
        self._expected = deque(expected)
        self._heard = 0
        self._receivers = 0
        self._error: DeliveryError | None = None

    @staticmethod
    def _commands(expected: list[_Expected]) -> Iterator[bytes]:
        for part, place, channels in expected:
            payload = part.records[place].payload
            for channel in channels:
                yield _packed("PUBLISH", channel, payload)

    @property
    def head(self) -> Record:
        """The record whose answer is next."""
        part, place, _ = self._expected[0]
        return part.records[place]

    def hear(self, reply: object) -> bool:
        """Take the next reply; True when it was the last."""
        part, place, channels = self._expected[0]
        if isinstance(reply, int):
            self._receivers += reply
        else:
            self._error = _error(reply)
        self._heard += 1
        if self._heard == len(channels) or _is_too_large(reply):
            self._expected.popleft()
            if self._error is None and self._receivers:
                part.channel_counts[place] = len(channels)
            elif self._error is None:
                part.channels[place] = channels
            part.results[place] = self._error or self._receivers
            self._heard = self._receivers = 0
            self._error = None
        return not self._expected


class Conversation:
    """One connection's side of the talk: records become commands, replies become results.

    All that is due is said at once, in two rounds where vehicles have sets of subscribers: the sets of every vehicle of the
    parts given together, then every PUBLISH. Further parts do not wait for the replies to earlier ones. Records are
    published in the order given. Commands are encoded when they are asked for: until then only the records take memory.

    :ivar refused_too_large: the server has found a record too large, and will close the connection for it.
    :ivar commands_said: how many commands ``said`` has handed out.
    :ivar replies_heard: how many of them have been answered.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self._reader = Reader()
        self._stages: deque[_Lookups | _Publishes] = deque()
        self._unsaid: deque[_Lookups | _Publishes] = deque()
        self._open: dict[Part, None] = {}
        self._finished: list[Part] = []
        self.refused_too_large = False
        self.commands_said = 0
        self.replies_heard = 0

    @property
    def head(self) -> Record | None:
        """The record whose answer is next; None when the server has been asked nothing that it has not answered."""
        return self._stages[0].head if self.commands_said > self.replies_heard else None

    def say(self, parts: Sequence[Part], now_epoch_s: int) -> None:
        """Publish records; those with a result are left out.

        :param now_epoch_s: subscriptions that ended before are removed.
        """
        self._open.update(dict.fromkeys(parts))
        keys: dict[bytes, Record] = {}
        if self._names.sets:
            for part in parts:
                for record, result in zip(part.records, part.results, strict=True):
                    if result is None:
                        keys.setdefault(self._names.set_key(record), record)
        if keys:
            self._begin(_Lookups(parts, keys, now_epoch_s))
        else:
            self._publish(parts, {})

    def said(self, limit_bytes: int) -> bytes:
        """Encode the next commands; empty when none is due.

        :param limit_bytes: beyond which no further command is encoded.
        """
        said: list[bytes] = []
        size_bytes = 0
        while self._unsaid and size_bytes < limit_bytes:
            for command in self._unsaid[0].commands:
                said.append(command)
                size_bytes += len(command)
                if size_bytes >= limit_bytes:
                    break
            else:
                self._unsaid.popleft()
        self.commands_said += len(said)
        return b"".join(said)

    def hear(self, data: bytes) -> None:
        """Take what the server sent.

        :raises NotConnected: what speaks there is no Redis server.
        """
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                if self.replies_heard == self.commands_said:
                    raise NotConnected(f"an answer to nothing: {reply!r:.100}")
                self.replies_heard += 1
                self.refused_too_large |= _is_too_large(reply)
                stage = self._stages[0]
                if stage.hear(reply):
                    self._stages.popleft()
                    if isinstance(stage, _Lookups):
                        self._publish(stage.parts, stage.subscribers)
                    else:
                        self._finish(stage.parts)
        except HiredisError as error:
            raise NotConnected(f"what answers there is no Redis server: {error}") from error

    def finished(self) -> list[Part]:
        """The parts whose every result is known since the last call."""
        finished, self._finished = self._finished, []
        return finished

    def unfinished(self) -> list[Part]:
        """All other parts, oldest first."""
        return list(self._open)

    @property
    def is_idle(self) -> bool:
        """Whether every part is finished."""
        return not self._open

    @property
    def has_finished(self) -> bool:
        """Whether ``finished`` has anything."""
        return bool(self._finished)

    def _publish(self, parts: Sequence[Part], subscribers: dict[bytes, list[bytes] | DeliveryError]) -> None:
        names = self._names
        expected: list[_Expected] = []
        for part in parts:
            for place, record in enumerate(part.records):
                if part.results[place] is not None:
                    continue
                found = subscribers[names.set_key(record)] if names.sets else []
                if isinstance(found, DeliveryError):
                    part.results[place] = found
                    continue
                channels = [*found, names.channel(record)] if names.vin_topics else found
                if channels:
                    expected.append((part, place, channels))
                else:
                    part.results[place] = 0
        if expected:
            self._begin(_Publishes(parts, expected))
        else:
            self._finish(parts)

    def _begin(self, stage: _Lookups | _Publishes) -> None:
        self._stages.append(stage)
        self._unsaid.append(stage)

    def _finish(self, parts: Sequence[Part]) -> None:
        self._finished += parts
        for part in parts:
            del self._open[part]


def _packed(*command: str | bytes) -> bytes:
    packed: bytes = pack_command(command)  # type: ignore[arg-type]  # its stub says "a tuple of one"; it takes any
    return packed


def _is_too_large(reply: object) -> bool:
    return isinstance(reply, ReplyError) and str(reply).startswith(_TOO_LARGE)


def _error(reply: object) -> DeliveryError:
    text = str(reply)
    if text.startswith((_TOO_LARGE, _REFUSED_FOR_GOOD)):
        return Rejected(text)
    if text.startswith(("MOVED", "ASK", "CLUSTERDOWN")):
        return Moved(text)
    if text.startswith("NOAUTH"):
        return LoggedOut(text)
    return Misplaced(text) if text.startswith("READONLY") else Retryable(text)
