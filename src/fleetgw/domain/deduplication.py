"""De-duplication: the records that were acknowledged lately. Pure."""

from collections import OrderedDict
from collections.abc import Sequence

from attrs import frozen

from fleetgw.domain.records import Record

Key = tuple[str, str, bytes]


@frozen
class DeduplicationWindow:
    """The bounds of what is remembered.

    :ivar window_s: seconds since the acknowledgement.
    :ivar max_records: largest number of records; beyond it the oldest are forgotten.
    """

    window_s: float
    max_records: int


class AcknowledgedRecords:
    """Remembers records by VIN, record type and txid. A record without a txid is never remembered."""

    def __init__(self, window: DeduplicationWindow) -> None:
        self.window = window
        self._acknowledged_at: OrderedDict[Key, float] = OrderedDict()

    def add(self, records: Sequence[Record], now_s: float) -> None:
        """Remember records that are acknowledged at ``now_s``, in seconds that never go back."""
        known, window = self._acknowledged_at, self.window
        for record in records:
            if record.txid:
                key = _key(record)
                known[key] = now_s
                known.move_to_end(key)
        while known and (len(known) > window.max_records or now_s - next(iter(known.values())) > window.window_s):
            known.popitem(last=False)

    def split(self, records: Sequence[Record], now_s: float) -> tuple[list[Record], list[Record]]:
        """Split records into those that are new, and duplicates of records acknowledged within the window; both in order."""
        new: list[Record] = []
        duplicates: list[Record] = []
        for record in records:
            acknowledged_at = self._acknowledged_at.get(_key(record))
            is_new = acknowledged_at is None or now_s - acknowledged_at > self.window.window_s
            (new if is_new else duplicates).append(record)
        return new, duplicates


def _key(record: Record) -> Key:
    return record.vin, record.record_type, record.txid
