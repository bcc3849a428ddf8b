"""What is said to one Redis server, and what its answers mean. Bytes in, bytes out: no sockets, no threads, no clock."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from hiredis import HiredisError, Reader, ReplyError, pack_command

from fleetgw.domain.errors import DeliveryError, NotConnected, Rejected, Retryable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetgw.adapters.sinks.redis.names import Names
    from fleetgw.adapters.sinks.redis.parts import Part

_TOO_LARGE = "ERR Protocol error: invalid bulk length"
"""Redis says so of an argument above ``proto-max-bulk-len``, then closes the connection."""

_REFUSED_FOR_GOOD = "WRONGTYPE"
"""Other errors, such as a missing permission or a server that is loading, an operator or time can mend."""


class Moved(Retryable):
    """The vehicle's set is at another node of the cluster by now."""


class Misplaced(Retryable):
    """The server is a replica: another one is the master by now."""


class _Lookups:
    """Asked: who subscribes to the vehicles of these parts?"""

    def __init__(self, parts: Sequence[Part], keys: dict[bytes, None], deadline: float) -> None:
        self.parts = parts
        self.deadline = deadline
        self.subscribers: dict[bytes, list[bytes] | DeliveryError] = {}
        self._keys = deque(keys)
        self._error: DeliveryError | None = None
        self._removing = True

    def hear(self, reply: object) -> bool:
        """Take the next reply; True when it was the last."""
        error = _error(reply) if isinstance(reply, ReplyError) else None
        if self._removing:
            self._error = error
        else:
            subscribers = reply if isinstance(reply, list) else []
            self.subscribers[self._keys.popleft()] = self._error or error or subscribers
        self._removing = not self._removing
        return not self._keys


class _Publishes:
    """Said: these records, to these channels."""

    def __init__(self, parts: Sequence[Part], deadline: float) -> None:
        self.parts = parts
        self.deadline = deadline
        self.expected: deque[tuple[Part, int, list[bytes]]] = deque()
        self._heard = 0
        self._receivers = 0
        self._error: DeliveryError | None = None

    def hear(self, reply: object) -> bool:
        """Take the next reply; True when it was the last."""
        part, place, channels = self.expected[0]
        if isinstance(reply, int):
            self._receivers += reply
        else:
            self._error = _error(reply)
        self._heard += 1
        if self._heard == len(channels) or _is_too_large(reply):
            self.expected.popleft()
            if self._error is None and not self._receivers:
                part.channels[place] = channels
            part.results[place] = self._error or self._receivers
            self._heard = self._receivers = 0
            self._error = None
        return not self.expected


class Conversation:
    """One connection's side of the talk: records become commands, replies become results.

    All that is due is said at once, in two rounds where vehicles have sets of subscribers: the sets of every vehicle of the
    parts given together, then every PUBLISH. Further parts do not wait for the replies to earlier ones. Records are
    published in the order given.

    :ivar refused_too_large: the server has found a record too large, and will close the connection for it.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self._reader = Reader()
        self._stages: deque[_Lookups | _Publishes] = deque()
        self._open: dict[Part, None] = {}
        self._finished: list[Part] = []
        self.refused_too_large = False

    @property
    def deadline(self) -> float | None:
        """When the oldest question must have been answered; None when nothing is awaited."""
        return self._stages[0].deadline if self._stages else None

    def say(self, parts: Sequence[Part], now_epoch_s: int, deadline: float) -> bytes:
        """What to send for records; those with a result are left out.

        :param now_epoch_s: subscriptions that ended before are removed.
        :param deadline: by when the server must answer, on the caller's clock.
        """
        self._open.update(dict.fromkeys(parts))
        keys: dict[bytes, None] = {}
        if self._names.sets:
            for part in parts:
                records = zip(part.records, part.results, strict=True)
                keys |= {self._names.set_key(record): None for record, result in records if result is None}
        if not keys:
            return self._publish(parts, {}, deadline)
        self._stages.append(_Lookups(parts, keys, deadline))
        ended, live = b"(%d" % now_epoch_s, b"%d" % now_epoch_s
        return b"".join(
            _packed("ZREMRANGEBYSCORE", key, "-inf", ended) + _packed("ZRANGEBYSCORE", key, live, "+inf") for key in keys
        )

    def hear(self, data: bytes, deadline: float) -> bytes:
        """Take what the server sent.

        :param deadline: by when it must answer what is to be sent now.
        :return: what to send now.
        :raises NotConnected: what speaks there is no Redis server.
        """
        self._reader.feed(data)
        said = []
        try:
            while (reply := self._reader.gets()) is not False:
                if not self._stages:
                    raise NotConnected(f"an answer to nothing: {reply!r:.100}")
                self.refused_too_large |= _is_too_large(reply)
                stage = self._stages[0]
                if stage.hear(reply):
                    self._stages.popleft()
                    if isinstance(stage, _Lookups):
                        said.append(self._publish(stage.parts, stage.subscribers, deadline))
                    else:
                        self._finish(stage.parts)
        except HiredisError as error:
            raise NotConnected(f"what answers there is no Redis server: {error}") from error
        return b"".join(said)

    def finished(self) -> list[Part]:
        """The parts whose every result is known since the last call."""
        finished, self._finished = self._finished, []
        return finished

    def unfinished(self) -> list[Part]:
        """All other parts, oldest first."""
        return list(self._open)

    def _publish(
        self, parts: Sequence[Part], subscribers: dict[bytes, list[bytes] | DeliveryError], deadline: float
    ) -> bytes:
        names = self._names
        stage = _Publishes(parts, deadline)
        expected = stage.expected
        said: list[bytes] = []
        for part in parts:
            for place, record in enumerate(part.records):
                if part.results[place] is not None:
                    continue
                found = subscribers[names.set_key(record)] if names.sets else []
                if isinstance(found, DeliveryError):
                    part.results[place] = found
                    continue
                channels = [*found, names.channel(record)] if names.vin_topics else found
                if not channels:
                    part.results[place] = 0
                    continue
                expected.append((part, place, channels))
                said += [_packed("PUBLISH", channel, record.payload) for channel in channels]
        if expected:
            self._stages.append(stage)
        else:
            self._finish(parts)
        return b"".join(said)

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
    return Misplaced(text) if text.startswith("READONLY") else Retryable(text)
