"""The two stages of publishing: look up the subscribers of vehicles, then publish records. No I/O."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from hiredis import ReplyError, pack_command

from fleetgw.adapters.sinks.redis.replies import is_too_large, outcome_of
from fleetgw.domain.errors import DeliveryError, Retryable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fleetgw.adapters.sinks.redis.parts import Part
    from fleetgw.domain.records import Record

    Publication = tuple[Part, int, list[bytes]]
    """A record, by its part and its place there, and the channels to publish it to."""

MAX_SUBSCRIBERS = 10_000
"""Most subscribers of one vehicle: each record is published to each of them. A larger set lacks a cleanup."""


class SubscriberLookups:
    """Looks up the subscribers in the sets of all vehicles of some parts.

    :ivar parts: the parts, to be published once the last reply is there.
    :ivar subscribers: by key of the set: its live members, or the reason why they are unknown.
    :ivar commands: the commands still to be sent, encoded when asked for.
    """

    def __init__(self, parts: Sequence[Part], keys: dict[bytes, Record], now_epoch_s: int) -> None:
        self.parts = parts
        self.subscribers: dict[bytes, list[bytes] | DeliveryError] = {}
        self.commands = self._encode([*keys], now_epoch_s)
        self._keys = deque(keys.items())
        self._error: DeliveryError | None = None
        self._removing = True

    @staticmethod
    def _encode(keys: list[bytes], now_epoch_s: int) -> Iterator[bytes]:
        before_now, from_now = b"(%d" % now_epoch_s, b"%d" % now_epoch_s
        for key in keys:
            yield _encoded("ZREMRANGEBYSCORE", key, "-inf", before_now)
            yield _encoded("ZRANGEBYSCORE", key, from_now, "+inf")

    @property
    def next_record(self) -> Record:
        """The oldest record that waits for the next reply."""
        return self._keys[0][1]

    def take_reply(self, reply: object) -> bool:
        """Take the next reply; returns whether it was the last."""
        error = outcome_of(reply) if isinstance(reply, ReplyError) else None
        if self._removing:
            self._error = error
        else:
            subscribers = reply if isinstance(reply, list) else []
            if len(subscribers) > MAX_SUBSCRIBERS:
                error = Retryable(f"the vehicle's set has {len(subscribers)} members, more than {MAX_SUBSCRIBERS}")
            self.subscribers[self._keys.popleft()[0]] = self._error or error or subscribers
        self._removing = not self._removing
        return not self._keys


class Publications:
    """Publishes records, each to one or more channels.

    :ivar parts: the parts, finished once the last reply is there.
    :ivar commands: the commands still to be sent, encoded when asked for.
    """

    def __init__(self, parts: Sequence[Part], publications: list[Publication]) -> None:
        self.parts = parts
        self.commands = self._encode(publications)
        self._expected = deque(publications)
        self._replies = 0
        self._receivers = 0
        self._error: DeliveryError | None = None

    @staticmethod
    def _encode(publications: list[Publication]) -> Iterator[bytes]:
        for part, place, channels in publications:
            payload = part.records[place].payload
            for channel in channels:
                yield _encoded("PUBLISH", channel, payload)

    @property
    def next_record(self) -> Record:
        """The record that waits for the next reply."""
        part, place, _ = self._expected[0]
        return part.records[place]

    def take_reply(self, reply: object) -> bool:
        """Take the next reply; returns whether it was the last."""
        part, place, channels = self._expected[0]
        if isinstance(reply, int):
            self._receivers += reply
        else:
            self._error = outcome_of(reply)
        self._replies += 1
        if self._replies == len(channels) or is_too_large(reply):
            self._expected.popleft()
            if self._error is None and self._receivers:
                part.channel_counts[place] = len(channels)
            elif self._error is None:
                part.channels[place] = channels
            part.results[place] = self._error or self._receivers
            self._replies = self._receivers = 0
            self._error = None
        return not self._expected


def _encoded(*command: str | bytes) -> bytes:
    encoded: bytes = pack_command(command)  # type: ignore[arg-type]  # its stub says "a tuple of one"; it takes any
    return encoded
