"""What a Kafka error means for a record, and how errors reach the log."""

from twisted.internet.interfaces import IReactorTime

from fleetgw.adapters.sinks.kafka.metrics import KafkaNumbers
from fleetgw.domain.errors import DeliveryError, NotConnected, Rejected, Retryable
from fleetgw.domain.ports import ILog

TOO_LARGE_CODES = frozenset({10, 18})
"""MESSAGE_TOO_LARGE and RECORD_LIST_TOO_LARGE: said of the whole produce request, not of one record."""

REJECTED_CODES = TOO_LARGE_CODES | {17, 32, 87}
"""Kafka protocol error codes that the same record meets again for ever: also INVALID_TOPIC, INVALID_TIMESTAMP,
INVALID_RECORD. A missing topic or a missing permission is not among them: an operator can mend that."""

CONNECTION_CODES = frozenset({7, 8, 9})
"""REQUEST_TIMED_OUT, BROKER_NOT_AVAILABLE, REPLICA_NOT_AVAILABLE."""

LOG_INTERVAL_S = 10.0


def delivery_error(code: int, reason: str) -> DeliveryError:
    """Place a Kafka protocol error code (https://kafka.apache.org/protocol, "Error Codes") in the error tree."""
    if code in REJECTED_CODES:
        return Rejected(reason)
    return NotConnected(reason) if code in CONNECTION_CODES else Retryable(reason)


class FailureLog:
    """Counts every error, and writes each kind at most once in ten seconds: a broker that is down must not flood the log."""

    def __init__(self, log: ILog, numbers: KafkaNumbers, clock: IReactorTime) -> None:
        self._log = log
        self._numbers = numbers
        self._clock = clock
        self._written_at_s: dict[str, float] = {}
        self._unwritten: dict[str, int] = {}

    def add(self, kind: str, reason: str) -> None:
        """Note one error.

        :param kind: of a closed set, such as the name of an error code.
        :param reason: for people.
        """
        self._numbers.errors.add(1)
        now_s = self._clock.seconds()
        if now_s - self._written_at_s.get(kind, -LOG_INTERVAL_S) < LOG_INTERVAL_S:
            self._unwritten[kind] = self._unwritten.get(kind, 0) + 1
            return
        self._written_at_s[kind] = now_s
        self._log.error("kafka_err", error=reason, kind=kind, more_unwritten=self._unwritten.pop(kind, 0))
