"""Outcomes of requests, by the action that they call for."""

from fleetgw.domain.errors import NotConnected, Rejected, Retryable


class Busy(Retryable):
    """The destination throttles: the record is sent again after a backoff, as often as ``RequestLimits.retries``."""


class BatchRejected(Rejected):
    """The service rejected a request for its content. Bisect the batch to isolate the bad record."""


class Unreachable(NotConnected):
    """The service cannot be reached; this concerns all of its destinations."""


class Unauthenticated(Unreachable):
    """The service does not accept the credentials, or does not yet: they have to be read again."""


class Missing(Retryable):
    """One destination does not exist, or does not exist yet. The next probe may find it."""


class OperatorActionRequired(Retryable):
    """An operator has to change something, such as a permission. Until then no record arrives, even where probes succeed."""
