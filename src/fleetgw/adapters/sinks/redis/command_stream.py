"""The protocol of one connection: records become commands, replies become results. No sockets, threads or clock."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from hiredis import HiredisError, Reader

from fleetgw.adapters.sinks.redis.replies import is_too_large
from fleetgw.adapters.sinks.redis.stages import Publications, SubscriberLookups
from fleetgw.domain.errors import DeliveryError, NotConnected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetgw.adapters.sinks.redis.names import Names
    from fleetgw.adapters.sinks.redis.parts import Part
    from fleetgw.adapters.sinks.redis.stages import Publication
    from fleetgw.domain.records import Record


class CommandStream:
    """Pipelines the commands of many records on one connection.

    Where vehicles have sets of subscribers, parts take two round trips: the sets of all their vehicles, then every PUBLISH.
    Further parts do not wait for the replies to earlier ones. Records are published in the order given. Commands are
    encoded when they are asked for: until then only the records take memory.

    :ivar refused_too_large: the server has refused a record as too large, and will close the connection.
    :ivar commands_encoded: number of commands that ``encode`` has handed out.
    :ivar replies_taken: number of replies so far.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self._reader = Reader()
        self._stages: deque[SubscriberLookups | Publications] = deque()
        self._to_encode: deque[SubscriberLookups | Publications] = deque()
        self._open: dict[Part, None] = {}
        self._finished: list[Part] = []
        self.refused_too_large = False
        self.commands_encoded = 0
        self.replies_taken = 0

    @property
    def first_unanswered(self) -> Record | None:
        """The record that waits for the next reply; None when no command waits for one."""
        return self._stages[0].next_record if self.commands_encoded > self.replies_taken else None

    def publish(self, parts: Sequence[Part], now_epoch_s: int) -> None:
        """Queue the commands of records; records with a result are left out.

        :param now_epoch_s: subscriptions that expired before are removed.
        """
        self._open.update(dict.fromkeys(parts))
        keys: dict[bytes, Record] = {}
        if self._names.sets:
            for part in parts:
                for record, result in zip(part.records, part.results, strict=True):
                    if result is None:
                        keys.setdefault(self._names.set_key(record), record)
        if keys:
            self._begin(SubscriberLookups(parts, keys, now_epoch_s))
        else:
            self._begin_publishing(parts, {})

    def encode(self, limit_bytes: int) -> bytes:
        """Encode the next commands; empty when none is queued.

        :param limit_bytes: no further command is encoded beyond this size.
        """
        encoded: list[bytes] = []
        size_bytes = 0
        while self._to_encode and size_bytes < limit_bytes:
            for command in self._to_encode[0].commands:
                encoded.append(command)
                size_bytes += len(command)
                if size_bytes >= limit_bytes:
                    break
            else:
                self._to_encode.popleft()
        self.commands_encoded += len(encoded)
        return b"".join(encoded)

    def receive(self, data: bytes) -> None:
        """Take bytes that the server sent.

        :raises NotConnected: they are not the replies of a Redis server.
        """
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                if self.replies_taken == self.commands_encoded:
                    raise NotConnected(f"an answer to nothing: {reply!r:.100}")
                self.replies_taken += 1
                self.refused_too_large |= is_too_large(reply)
                stage = self._stages[0]
                if stage.take_reply(reply):
                    self._stages.popleft()
                    if isinstance(stage, SubscriberLookups):
                        self._begin_publishing(stage.parts, stage.subscribers)
                    else:
                        self._finish(stage.parts)
        except HiredisError as error:
            raise NotConnected(f"what answers there is no Redis server: {error}") from error

    def take_finished(self) -> list[Part]:
        """The parts whose last result has come since the last call."""
        finished, self._finished = self._finished, []
        return finished

    def unfinished(self) -> list[Part]:
        """The parts that lack results, oldest first."""
        return list(self._open)

    @property
    def is_idle(self) -> bool:
        """Whether every part is finished."""
        return not self._open

    @property
    def has_finished(self) -> bool:
        """Whether ``take_finished`` would return any."""
        return bool(self._finished)

    def _begin_publishing(self, parts: Sequence[Part], subscribers: dict[bytes, list[bytes] | DeliveryError]) -> None:
        names = self._names
        publications: list[Publication] = []
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
                    publications.append((part, place, channels))
                else:
                    part.results[place] = 0
        if publications:
            self._begin(Publications(parts, publications))
        else:
            self._finish(parts)

    def _begin(self, stage: SubscriberLookups | Publications) -> None:
        self._stages.append(stage)
        self._to_encode.append(stage)

    def _finish(self, parts: Sequence[Part]) -> None:
        self._finished += parts
        for part in parts:
            del self._open[part]
