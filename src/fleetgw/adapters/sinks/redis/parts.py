"""The part of a batch that takes one connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetgw.adapters.sinks.support.dispatch import Dispatch
    from fleetgw.domain.errors import DeliveryError
    from fleetgw.domain.records import Record


class Part:
    """Records of one batch, and what became of them. In one thread's hands at a time.

    :ivar batch: what they are part of.
    :ivar indexes: where each record stands in the batch.
    :ivar results: of each record: how many clients received it, or why it was not published; None while neither is known.
    :ivar channels: of each record that no client received, by place in the part: the channels it was published to.
    :ivar channel_counts: of each record that clients received, by place in the part: how many channels it was published to.
    """

    __slots__ = ("batch", "channel_counts", "channels", "indexes", "records", "results")

    def __init__(self, batch: Dispatch, indexes: Sequence[int], records: Sequence[Record]) -> None:
        self.batch = batch
        self.indexes = indexes
        self.records = records
        self.results: list[int | DeliveryError | None] = [None] * len(records)
        self.channels: dict[int, list[bytes]] = {}
        self.channel_counts: dict[int, int] = {}

    def fail(self, error: DeliveryError) -> None:
        """Let this be the result of every record that has none."""
        self.results = [error if result is None else result for result in self.results]

    def singles(self) -> list[Part]:
        """Parts of one record each, of those that have no result."""
        open_places = [place for place, result in enumerate(self.results) if result is None]
        return [Part(self.batch, [self.indexes[place]], [self.records[place]]) for place in open_places]

    def settled(self) -> Part | None:
        """The records that have their result, with it; None when none has."""
        places = [place for place, result in enumerate(self.results) if result is not None]
        if not places:
            return None
        part = Part(self.batch, [self.indexes[place] for place in places], [self.records[place] for place in places])
        part.results = [self.results[place] for place in places]
        part.channels = {new: self.channels[old] for new, old in enumerate(places) if old in self.channels}
        part.channel_counts = {new: self.channel_counts[old] for new, old in enumerate(places) if old in self.channel_counts}
        return part
