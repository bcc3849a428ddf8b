"""The records of a dispatch that go over one connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetgw.adapters.sinks.support.dispatch import Dispatch
    from fleetgw.domain.errors import DeliveryError
    from fleetgw.domain.records import Record


class Part:
    """Some records of a dispatch, with their results. One thread at a time uses it.

    :ivar dispatch: the dispatch that they belong to.
    :ivar indexes: the index of each record in its batch.
    :ivar results: of each record: the number of clients that received it, or the error; None while unknown.
    :ivar channels: of each record that no client received, by place in the part: the channels that it was published to.
    :ivar channel_counts: of each record that clients received, by place in the part: the number of such channels.
    """

    __slots__ = ("channel_counts", "channels", "dispatch", "indexes", "records", "results")

    def __init__(self, dispatch: Dispatch, indexes: Sequence[int], records: Sequence[Record]) -> None:
        self.dispatch = dispatch
        self.indexes = indexes
        self.records = records
        self.results: list[int | DeliveryError | None] = [None] * len(records)
        self.channels: dict[int, list[bytes]] = {}
        self.channel_counts: dict[int, int] = {}

    def fail(self, error: DeliveryError) -> None:
        """Give every record without a result this one."""
        self.results = [error if result is None else result for result in self.results]

    def singles(self) -> list[Part]:
        """Parts of one record each, for the records without a result."""
        places = [place for place, result in enumerate(self.results) if result is None]
        return [Part(self.dispatch, [self.indexes[place]], [self.records[place]]) for place in places]

    def settled(self) -> Part | None:
        """A part of the records with a result; None when no record has one."""
        places = [place for place, result in enumerate(self.results) if result is not None]
        if not places:
            return None
        indexes, records = [self.indexes[place] for place in places], [self.records[place] for place in places]
        part = Part(self.dispatch, indexes, records)
        part.results = [self.results[place] for place in places]
        part.channels = {new: self.channels[old] for new, old in enumerate(places) if old in self.channels}
        part.channel_counts = {new: self.channel_counts[old] for new, old in enumerate(places) if old in self.channel_counts}
        return part
