"""What channels and sets are called."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fleetgw.domain.errors import Rejected

if TYPE_CHECKING:
    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.domain.records import Record

MAX_VIN_LENGTH = 128
VIN_IN_WORDS = f"at most {MAX_VIN_LENGTH} characters, without braces, blanks at the ends and control characters"

_VIN = re.compile(r"(?!\s)[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff{}]*(?<!\s)")
"""Braces would move the vehicle's names into a slot that the VIN chooses."""

KNOWN_VINS = 65_536
"""So many are kept encoded."""


class Names:
    """Names as bytes, as Redis takes them. The braces put all of a vehicle's names into one slot of a cluster.

    :ivar vin_topics: whether each vehicle has a channel of its own.
    :ivar sets: whether each vehicle has a set of subscribers.
    """

    def __init__(self, context: SinkContext, *, vin_topics: bool, set_prefix: str) -> None:
        self.vin_topics = vin_topics
        self.sets = bool(set_prefix)
        self._not_routed = context.not_routed
        self._vins: dict[str, bytes] = {}
        self._channels = {kind: _bytes(f"{context.destination(kind)}_{{") for kind in context.record_types}
        self._sets = {kind: _bytes(f"{set_prefix}_{context.destination(kind)}_{{") for kind in context.record_types}

    def channel(self, record: Record) -> bytes:
        """``<namespace>_<record type>_{<vin>}``."""
        return b"%b%b}" % (self._channels[record.record_type], self._vin(record.vehicle.vin))

    def set_key(self, record: Record) -> bytes:
        """``<prefix>_<namespace>_<record type>_{<vin>}``."""
        return b"%b%b}" % (self._sets[record.record_type], self._vin(record.vehicle.vin))

    def slot_key(self, record: Record) -> bytes:
        """The key whose slot decides which node of a cluster has the vehicle: its set, where vehicles have sets."""
        return self.set_key(record) if self.sets else self.channel(record)

    def refusal(self, record: Record) -> Rejected | None:
        """Why nothing can ever be published for a record; None when it can."""
        if record.record_type not in self._channels:
            return self._not_routed(record.record_type)
        vin = record.vehicle.vin
        if vin not in self._vins and (len(vin) > MAX_VIN_LENGTH or not _VIN.fullmatch(vin)):
            return Rejected(f"no channel can be named after the VIN {vin!r:.100}: {VIN_IN_WORDS}")
        return None

    def _vin(self, vin: str) -> bytes:
        name = self._vins.get(vin)
        if name is None:
            if len(self._vins) >= KNOWN_VINS:
                self._vins.clear()
            name = self._vins[vin] = vin.encode()
        return name


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
