"""Refused and delayed connections: counted by reason, logged at a bounded rate."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from fleetgw.domain.line_limit import LineLimit
from fleetgw.domain.metrics import ACCEPT_PAUSES_TOTAL, CONNECTIONS_REFUSED_TOTAL
from fleetgw.domain.recent_refusals import RefusalKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleetgw.domain.ports import ILog, IMetrics
    from fleetgw.domain.recent_refusals import RecentRefusals


class Refusal(Enum):
    """Reason of a refusal; those that begin with PORT are of the ports of pages.

    :ivar label: of the metric.
    :ivar what: the reason for people.
    :ivar fix: the remedy.
    """

    FULL = (
        "full",
        "there are as many connections as limits.max_connections, or the file descriptors, allow",
        "raise limits.max_connections, and LimitNOFILE of the service with it, or start a further gateway",
    )
    FULL_HALF_OPEN = (
        "full_half_open",
        "too many connections have not finished TLS handshake and upgrade",
        "raise limits.max_half_open if vehicles come all at once; else find the addresses that send nothing",
    )
    FULL_ADDRESS = (
        "full_address",
        "its address has too many connections that have shown no identity",
        "behind a balancer, which gives all vehicles its address, raise limits.max_half_open_per_address",
    )
    FULL_VEHICLE = (
        "full_vehicle",
        "its vehicle has as many connections as limits.max_connections_per_vehicle allows",
        "find the second client with this vehicle's certificate, or raise limits.max_connections_per_vehicle",
    )
    CROWDED_OUT = (
        "crowded_out",
        "its address held most of the room for connections without an identity, and others need it",
        "find out why this address opens connections and sends nothing",
    )
    PORT_FULL = (
        "full",
        "there are as many connections as this port serves",
        "find the clients that keep connections open",
    )
    PORT_FULL_ADDRESS = (
        "full_address",
        "its address has as many connections to this port as one address may have",
        "find the clients at this address that keep connections open",
    )
    PORT_CROWDED_OUT = (
        "crowded_out",
        "its address held most of the connections that this port serves, and others need them",
        "find the clients at this address that keep connections open",
    )
    UNAUTHORIZED = (
        "unauthorized",
        "its certificate is not a vehicle's",
        "see fleetgw explain-cert; a certificate authority of your own belongs in identity.issuers",
    )
    NOT_ALLOWED = (
        "not_allowed",
        "the allow list (vehicles.allow) does not have its vehicle",
        "add the VIN to the list if the vehicle may connect",
    )
    NO_ALLOW_LIST = (
        "no_allow_list",
        "there is no allow list (vehicles.allow) to decide by",
        "see the event allow_list_not_read: its source cannot be read, or gives no list",
    )

    def __init__(self, label: str, what: str, fix: str) -> None:
        self.label = label
        self.what = what
        self.fix = fix


class Pause(Enum):
    """Reason of a pause in accepting connections: the metric's label, and the text for people."""

    HALF_OPEN = "half_open", "too many connections have not finished TLS handshake and upgrade"
    NO_DESCRIPTORS = (
        "no_descriptors",
        "no file descriptor is left: raise LimitNOFILE of the service, or lower limits.max_connections",
    )


class Refusals:
    """Counts and logs the refusals of one listener.

    :param listener: ``vehicles``, ``status``, ``metrics`` or ``profiler``.
    :param monotonic: returns monotonic time in seconds.
    :param recent: the refusals that people are shown; None where nobody is shown those of the listener.
    """

    def __init__(
        self,
        listener: str,
        metrics: IMetrics,
        log: ILog,
        monotonic: Callable[[], float],
        recent: RecentRefusals | None = None,
    ) -> None:
        self._listener = listener
        self._recent = recent
        self._metrics = metrics
        self._log = log
        self._monotonic = monotonic
        self._limit = LineLimit()

    def count(self, refusal: Refusal, remote: str, text: str = "", device_id: str = "") -> None:
        """Count a refused connection without a log line: the caller writes one.

        :param text: the reason for people; by default the refusal's.
        """
        label = refusal.label
        self._metrics.counter(CONNECTIONS_REFUSED_TOTAL, listener=self._listener, reason=label).add(1)
        if self._recent is not None:
            kind = RefusalKind.VEHICLE if device_id else RefusalKind.CONNECTION
            self._recent.add(kind, label, text or refusal.what, fix=refusal.fix, address=remote, vin=device_id)

    def add(self, refusal: Refusal, remote: str, device_id: str = "", text: str = "") -> None:
        """Count a refused connection, and log it at most once in ten seconds per reason, and vehicle if it is known.

        :param text: as for ``count``.
        """
        self.count(refusal, remote, text, device_id)
        unwritten = self._limit.admit(refusal.label, device_id, self._monotonic(), 1)
        if unwritten is not None:
            vehicle = {"device_id": device_id} if device_id else {}
            self._log.warn(
                "connection_refused",
                listener=self._listener,
                reason=refusal.label,
                error=text or refusal.what,
                remote_ip=remote,
                more_unwritten=unwritten,
                **vehicle,
            )

    def paused(self, pause: Pause) -> None:
        """Count a pause in accepting, and log it at most once in ten seconds per reason."""
        label, reason = pause.value
        self._metrics.counter(ACCEPT_PAUSES_TOTAL, listener=self._listener, reason=label).add(1)
        unwritten = self._limit.admit(f"pause {label}", "", self._monotonic(), 1)
        if unwritten is not None:
            self._log.warn("accepting_paused", listener=self._listener, reason=label, error=reason, more_unwritten=unwritten)
