"""Names of channels and sets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fleetgw.adapters.sinks.support.by_record_type import ByRecordType
from fleetgw.domain.errors import Rejected

if TYPE_CHECKING:
    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.domain.records import Record

MAX_VIN_LENGTH = 128
VIN_IN_WORDS = f"at most {MAX_VIN_LENGTH} characters, without braces, blanks at the ends and control characters"

_VIN = re.compile(r"(?!\s)[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff{}]*(?<!\s)")
"""With a brace in it, a VIN would choose the cluster slot of its vehicle's names."""

KNOWN_VINS = 65_536
"""VINs kept in their encoded form, at most."""


class Names:
    """Names as bytes. Their braces put all names of a vehicle into one slot of a cluster.

    :ivar vin_topics: whether each vehicle has a channel of its own.
    :ivar sets: whether each vehicle has a set of subscribers.
    """

    def __init__(self, context: SinkContext, *, vin_topics: bool, set_prefix: str) -> None:
        self.vin_topics = vin_topics
        self.sets = bool(set_prefix)
        self._vins: dict[str, bytes] = {}
        name, record_types = context.destination, context.record_types
        self._channels = ByRecordType(lambda record_type: _bytes(f"{name(record_type)}_{{"), record_types)
        self._sets = ByRecordType(lambda record_type: _bytes(f"{set_prefix}_{name(record_type)}_{{"), record_types)

    def channel(self, record: Record) -> bytes:
        """``<namespace>_<record type>_{<vin>}``."""
        return b"%b%b}" % (self._channels[record.record_type], self._vin(record.vehicle.vin))

    def set_key(self, record: Record) -> bytes:
        """``<prefix>_<namespace>_<record type>_{<vin>}``."""
        return b"%b%b}" % (self._sets[record.record_type], self._vin(record.vehicle.vin))

    def slot_key(self, record: Record) -> bytes:
        """The key whose slot decides on the vehicle's node in a cluster: its set, where vehicles have sets."""
        return self.set_key(record) if self.sets else self.channel(record)

    def refusal(self, record: Record) -> Rejected | None:
        """The outcome of a record whose VIN cannot be part of a name; None for all others."""
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
