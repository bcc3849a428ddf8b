"""Faults of the clients of a site: refused requests and slow readers, counted; those of attackers are logged."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from fleetgw.domain.line_limit import LineLimit
from fleetgw.domain.metrics import REQUESTS_REFUSED_TOTAL, STREAM_CHUNKS_DROPPED_TOTAL

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleetgw.domain.ports import ILog, IMetrics


class RequestRefusal(Enum):
    """Reason of a refused request: the metric's label."""

    FOREIGN_HOST = "foreign_host"
    CROSS_ORIGIN = "cross_origin"
    NO_TOKEN_SET = "no_token_set"  # noqa: S105  a label
    NO_TOKEN = "no_token"  # noqa: S105  a label
    WRONG_TOKEN = "wrong_token"  # noqa: S105  a label


_LOGGED = frozenset({RequestRefusal.FOREIGN_HOST, RequestRefusal.CROSS_ORIGIN, RequestRefusal.WRONG_TOKEN})
"""Refusals that no page or tool of this project causes."""


class ClientFaults:
    """Counts and logs the faults of one listener's clients.

    :param listener: as in ``Refusals``.
    :param monotonic: returns monotonic time in seconds.
    """

    def __init__(self, listener: str, metrics: IMetrics, log: ILog, monotonic: Callable[[], float]) -> None:
        self._listener = listener
        self._metrics = metrics
        self._log = log
        self._monotonic = monotonic
        self._limit = LineLimit()

    def refused(self, refusal: RequestRefusal, error: str, remote: str) -> None:
        """Count a refused request, and log it at most once in ten seconds per reason.

        :param error: the problem, for people.
        :param remote: the client's address.
        """
        label = refusal.value
        self._metrics.counter(REQUESTS_REFUSED_TOTAL, listener=self._listener, reason=label).add(1)
        if refusal not in _LOGGED:
            return
        unwritten = self._limit.fields(label, "", self._monotonic(), 1)
        if unwritten is not None:
            self._log.warn(
                "request_refused", listener=self._listener, reason=label, error=error, remote_ip=remote, **unwritten
            )

    def dropped_chunk(self) -> None:
        """Count a chunk that a slow reader has not got."""
        self._metrics.counter(STREAM_CHUNKS_DROPPED_TOTAL, listener=self._listener).add(1)
