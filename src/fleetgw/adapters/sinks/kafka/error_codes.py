"""Places the error codes of the Kafka protocol in the error tree."""

from fleetgw.domain.errors import DeliveryError, NotConnected, Rejected, Retryable

TOO_LARGE_CODES = frozenset({10, 18})
"""MESSAGE_TOO_LARGE and RECORD_LIST_TOO_LARGE: the answer for a whole produce request, not for one record."""

REJECTED_CODES = TOO_LARGE_CODES | {17, 32, 87}
"""Codes that no retry of the same record can avoid: also INVALID_TOPIC, INVALID_TIMESTAMP, INVALID_RECORD. A missing topic
or permission is not among them, because an operator can add it."""

MISSING_TOPIC_CODES = frozenset({-188, 3, 29})
"""_UNKNOWN_TOPIC (librdkafka's own), UNKNOWN_TOPIC_OR_PARTITION, TOPIC_AUTHORIZATION_FAILED: an operator has to act, for one
topic."""

CONNECTION_CODES = frozenset({7, 8, 9})
"""REQUEST_TIMED_OUT, BROKER_NOT_AVAILABLE, REPLICA_NOT_AVAILABLE."""


def delivery_error(code: int, reason: str) -> DeliveryError:
    """The outcome for a Kafka protocol error code (https://kafka.apache.org/protocol, "Error Codes")."""
    if code in REJECTED_CODES:
        return Rejected(reason)
    return NotConnected(reason) if code in CONNECTION_CODES else Retryable(reason)
