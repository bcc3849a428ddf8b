"""What channels and sets are called."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fleetgw.adapters.sinks.context import SinkContext
    from fleetgw.domain.records import Record


class Names:
    """Names as bytes, as Redis takes them. The braces put all of a vehicle's names into one slot of a cluster.

    :ivar vin_topics: whether each vehicle has a channel of its own.
    :ivar sets: whether each vehicle has a set of subscribers.
    """

    def __init__(self, context: SinkContext, *, vin_topics: bool, set_prefix: str) -> None:
        self.vin_topics = vin_topics
        self.sets = bool(set_prefix)
        self._channels = {kind: _bytes(f"{context.destination(kind)}_{{") for kind in context.record_types}
        self._sets = {kind: _bytes(f"{set_prefix}_{context.destination(kind)}_{{") for kind in context.record_types}

    def channel(self, record: Record) -> bytes:
        """``<namespace>_<record type>_{<vin>}``."""
        return b"%b%b}" % (self._channels[record.record_type], record.vehicle.vin.encode())

    def set_key(self, record: Record) -> bytes:
        """``<prefix>_<namespace>_<record type>_{<vin>}``."""
        return b"%b%b}" % (self._sets[record.record_type], record.vehicle.vin.encode())

    def knows(self, record: Record) -> bool:
        """Whether the record's type is one that is routed here."""
        return record.record_type in self._channels


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
