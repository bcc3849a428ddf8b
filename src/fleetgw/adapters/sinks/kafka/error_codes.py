"""Places Kafka's errors in the error tree, and counts and logs them."""

from collections.abc import Mapping, Sequence

from twisted.internet.interfaces import IReactorTime

from fleetgw.adapters.sinks.kafka.metrics import KafkaNumbers
from fleetgw.adapters.sinks.support import failure_log as delivery
from fleetgw.domain.errors import DeliveryError, NotConnected, Rejected, Retryable
from fleetgw.domain.ports import RECEIPT, ILog, NotReady, Outcome, Readiness, Ready
from fleetgw.domain.records import Record

TOO_LARGE_CODES = frozenset({10, 18})
"""MESSAGE_TOO_LARGE and RECORD_LIST_TOO_LARGE: said of the whole produce request, not of one record."""

REJECTED_CODES = TOO_LARGE_CODES | {17, 32, 87}
"""Kafka protocol error codes that the same record meets again for ever: also INVALID_TOPIC, INVALID_TIMESTAMP,
INVALID_RECORD. A missing topic or a missing permission is not among them: an operator can mend that."""

MISSING_TOPIC_CODES = frozenset({-188, 3, 29})
"""_UNKNOWN_TOPIC (librdkafka's own), UNKNOWN_TOPIC_OR_PARTITION, TOPIC_AUTHORIZATION_FAILED: something is to be mended, for
one topic."""

CONNECTION_CODES = frozenset({7, 8, 9})
"""REQUEST_TIMED_OUT, BROKER_NOT_AVAILABLE, REPLICA_NOT_AVAILABLE."""


def delivery_error(code: int, reason: str) -> DeliveryError:
    """Place a Kafka protocol error code (https://kafka.apache.org/protocol, "Error Codes") in the error tree."""
    if code in REJECTED_CODES:
        return Rejected(reason)
    return NotConnected(reason) if code in CONNECTION_CODES else Retryable(reason)


class MissingTopics:
    """The topics that records did not get into, each until records get into it again: the others may be well.

    :param topics: by record type.
    """

    def __init__(self, topics: Mapping[str, str]) -> None:
        self._topics = topics
        self._reasons: dict[str, str] = {}  # by record type

    def add(self, record_type: str, reason: str) -> None:
        """Note that a record's topic is missing, or not ours to write to."""
        self._reasons[record_type] = reason

    def settled(self, batch: Sequence[Record], outcomes: Sequence[Outcome]) -> None:
        """Take how records fared; costs nothing while no topic is missing."""
        if self._reasons:
            for record, outcome in zip(batch, outcomes, strict=True):
                if outcome is RECEIPT:
                    self._reasons.pop(record.record_type, None)

    def readiness(self, of_servers: Readiness) -> Readiness:
        """What the sink's readiness is, given that of the servers."""
        if isinstance(of_servers, Ready):
            for record_type, reason in self._reasons.items():
                return NotReady(f"topic {self._topics[record_type]}: {reason}")
        return of_servers


class FailureLog:
    """Counts errors, and logs each kind as ``delivery.FailureLog`` does."""

    def __init__(self, log: ILog, numbers: KafkaNumbers, clock: IReactorTime) -> None:
        self._log = delivery.FailureLog(log, "kafka_err", clock)
        self._numbers = numbers

    def add(self, kind: str, reason: str, *, counts: bool = True) -> None:
        """Note one error.

        :param kind: of a closed set, such as the name of an error code.
        :param reason: for people.
        :param counts: whether it stands in the way of a record: a broker that is away while there is none does not count.
        """
        self._numbers.errors.add(counts)
        self._log.add(kind=kind, reason=reason)
