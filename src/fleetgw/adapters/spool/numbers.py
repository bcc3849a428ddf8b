"""A spool's metrics and log events."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from fleetgw.domain.fill_estimate import FillEstimate
from fleetgw.domain.ledger import Loss
from fleetgw.domain.metrics import (
    LOST_RECORDS_TOTAL,
    SPOOL_APPENDED_TOTAL,
    SPOOL_DAMAGED_BYTES,
    SPOOL_DAMAGED_FILES_TOTAL,
    SPOOL_FAILED_TOTAL,
    SPOOL_MAX_BYTES,
    SPOOL_REFUSED_TOTAL,
    SPOOL_SECONDS_UNTIL_FULL,
    SPOOL_SIZE_BYTES,
)

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping

    from twisted.python.failure import Failure

    from fleetgw.adapters.spool.damaged_files import DamagedFiles
    from fleetgw.domain.errors import StorageError
    from fleetgw.domain.ports import ILog, IMetrics

UNKNOWN = "unknown"
"""The label of the type of damaged records: it is not known."""


class SpoolNumbers:
    """Counts and logs what becomes of records in a spool. Used on the reactor's thread."""

    def __init__(self, path: str, max_bytes: int, metrics: IMetrics, log: ILog) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._fill = FillEstimate()
        self._metrics = metrics
        self._log = log
        self._appended_total = metrics.counter(SPOOL_APPENDED_TOTAL)
        self._failed_total = metrics.counter(SPOOL_FAILED_TOTAL)
        self._refused_total = metrics.counter(SPOOL_REFUSED_TOTAL)
        self._damaged_files_total = metrics.counter(SPOOL_DAMAGED_FILES_TOTAL)
        self._size_bytes = metrics.gauge(SPOOL_SIZE_BYTES)
        self._until_full_s = metrics.gauge(SPOOL_SECONDS_UNTIL_FULL)
        self._until_full_s.set_to(inf)
        metrics.gauge(SPOOL_MAX_BYTES).set_to(max_bytes)
        self._damaged_bytes = metrics.gauge(SPOOL_DAMAGED_BYTES)
        self._damaged_files = self._removed_files = 0
        self._failing: set[str] = set()

    def appended(self, count: int) -> None:
        """Records are synced."""
        self._appended_total.add(count)

    def failed(self, count: int) -> None:
        """Records are not stored."""
        self._failed_total.add(count)

    def refused(self, count: int) -> None:
        """Records are not taken."""
        self._refused_total.add(count)

    def size(self, size_bytes: int, now_s: float) -> None:
        """The files have this size together. Called at least once a second.

        :param now_s: monotonic time.
        """
        self._size_bytes.set_to(size_bytes)
        self._until_full_s.set_to(self._fill.seconds_until_full(size_bytes, self._max_bytes, now_s))

    def writing(self, kind: str, failure: StorageError | None) -> None:
        """Writing ``records`` or ``cursors`` has failed for this reason, or succeeded."""
        if (failure is not None) == (kind in self._failing):
            return
        if failure is None:
            self._failing.remove(kind)
            self._log.info("spool_recovered", path=self._path, kind=kind)
        else:
            self._failing.add(kind)
            self._log.error("spool_failed", path=self._path, kind=kind, error=str(failure))

    def damaged_records(self, sink: str, count: int) -> None:
        """Records are lost to a sink: at most so many, as the types of damaged records are not known."""
        if count:
            self._lost(UNKNOWN, sink, Loss.DAMAGED, count)
            self._log.error("spool_records_damaged", path=self._path, dispatcher=sink, records=count)

    def damaged_files(self, damaged: DamagedFiles) -> None:
        """Damaged files may have been kept aside, or removed to make room for newer ones."""
        kept, removed = damaged.kept, damaged.removed
        if kept > self._damaged_files:
            self._damaged_files_total.add(kept - self._damaged_files)
            self._log.error("spool_files_damaged", path=self._path, files=kept - self._damaged_files)
            self._damaged_files = kept
        if removed > self._removed_files:
            self._log.warn("spool_damaged_files_removed", path=self._path, files=removed - self._removed_files)
            self._removed_files = removed
        self._damaged_bytes.set_to(damaged.size_bytes)

    def dropped(self, lost: Mapping[str, Counter[str]]) -> None:
        """Records are lost to sinks as they were removed for the spool's size or age."""
        for sink, counts in lost.items():
            for record_type, count in counts.items():
                self._lost(record_type, sink, Loss.SPOOL_LIMIT, count)
            if counts:
                self._log.error("spool_records_dropped", path=self._path, dispatcher=sink, records=counts.total())

    def _lost(self, record_type: str, sink: str, reason: Loss, count: int) -> None:
        self._metrics.counter(LOST_RECORDS_TOTAL, record_type=record_type, dispatcher=sink, reason=reason).add(count)

    def broken(self, failure: Failure) -> None:
        """Something happened that cannot happen."""
        self._log.error("spool_broken", path=self._path, error=failure.getTraceback())
