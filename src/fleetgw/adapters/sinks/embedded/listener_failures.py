"""Outcomes of records for which the program's listeners raised an exception."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from fleetgw.adapters.sinks.support.failure_log import FailureLog
from fleetgw.domain.errors import DeliveryError, Rejected, Retryable

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.domain.records import Record


class ListenerFailures:
    """Logs failures of listeners, and counts them for each record.

    A ``DeliveryError`` is the outcome itself. A record that fails with any other exception is retried, up to ``attempts``
    times in all.

    :param attempts: 0 for no limit.
    """

    def __init__(self, context: SinkContext, attempts: int) -> None:
        self._attempts = attempts
        self._log = FailureLog(context.log, "embedded_listener_error", context.reactor)
        self._counts: WeakKeyDictionary[Record, int] = WeakKeyDictionary()

    def outcome(self, record: Record, failure: Failure) -> DeliveryError:
        """Log the failure, and return the outcome of the record."""
        error = failure.value
        if isinstance(error, DeliveryError):
            return error
        reason = f"{type(error).__name__}: {error}"
        self._counts[record] = count = self._counts.get(record, 0) + 1
        self._log.add(
            type(error).__name__,
            reason,
            vin=record.vin,
            record_type=record.record_type,
            txid=record.txid.decode("utf-8", "replace"),
            attempt=count,
            traceback=failure.getTraceback(),
        )
        if count == self._attempts:
            return Rejected(f"the listener failed {count} times, lastly with {reason}")
        return Retryable(f"the listener failed: {reason}")
