"""Log events and counters of ingress. The rate of lines that strangers and vehicles can cause is bounded."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from fleetgw.adapters.ingress.certificate import shown_date
from fleetgw.domain.line_limit import LineLimit
from fleetgw.domain.metrics import SOCKET_ERR_TOTAL, TLS_HANDSHAKE_ERROR_TOTAL
from fleetgw.domain.recent_refusals import RefusalKind
from fleetgw.domain.vehicle_log import VehicleLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleetgw.adapters.ingress.certificate import ShownCertificate
    from fleetgw.adapters.ingress.handshake_failure import HandshakeFailure
    from fleetgw.domain.ports import ILog, IMetrics
    from fleetgw.domain.recent_refusals import RecentRefusals

STRANGERS_LINES = 20
"""Maximum number of log lines in ten seconds of each kind that strangers can cause."""

REQUEST_LINES = 1000
"""The same for ``request_start`` and ``request_end``, which only the holder of a trusted certificate can cause."""


def certificate_fields(certificate: ShownCertificate) -> dict[str, object]:
    """The fields of a log event or a trace about a certificate."""
    return {
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "not_before": shown_date(certificate.not_before),
        "not_after": shown_date(certificate.not_after),
    }


class IngressEvents:
    """Logs and counts the events of all connections.

    :param recent_refusals: gets failed handshakes, for people.
    :param log_handshake_errors: whether failed handshakes are logged; they are counted in any case.
    """

    def __init__(
        self,
        metrics: IMetrics,
        log: ILog,
        monotonic: Callable[[], float],
        recent_refusals: RecentRefusals | None = None,
        *,
        log_handshake_errors: bool = True,
    ) -> None:
        self._recent_refusals = recent_refusals
        self._log = log
        self._metrics = metrics
        self._monotonic = monotonic
        self._log_handshake_errors = log_handshake_errors
        self._lines = LineLimit()
        self._vehicle_log = VehicleLog(log, monotonic)
        self._socket_err_total = metrics.counter(SOCKET_ERR_TOTAL)

    def stranger_error(self, event: str, kind: str = "", **fields: object) -> None:
        """Log an error that strangers can cause, at a bounded rate per kind (of a closed set)."""
        if (more := self._admit(f"{event} {kind}", STRANGERS_LINES)) is not None:
            self._log.error(event, **fields, **more)

    def request_started(self, fields: Callable[[], dict[str, object]]) -> dict[str, object] | None:
        """Log the start of a request; return its fields for ``request_ended``, None when it was not logged."""
        if not self._log.info_enabled or (more := self._admit("request_start", REQUEST_LINES)) is None:
            return None
        made = fields()
        self._log.info("request_start", **made, **more)
        return made

    def request_ended(self, fields: dict[str, object], duration_s: float) -> None:
        """Log the end of a request."""
        self._log.info("request_end", duration_ms=round(duration_s * 1000), **fields)

    def connected(self, vin: str, fields: Callable[[], dict[str, object]]) -> None:
        """Log a completed upgrade."""
        self._vehicle_log.info("socket_connected", vin, fields)

    def connection_cut(self, event: str, vin: str, remote: str, reason: str) -> None:
        """Log and count a connection that is cut because it exceeded a limit."""
        self._socket_err_total.add(1)
        self._vehicle_log.warn(event, vin, lambda: {"device_id": vin, "remote_ip": remote, "error": reason})

    def connection_failed(self, vin: str, remote: str, error: Exception) -> None:
        """Log and count an exception during the handling of a peer's bytes."""
        self._socket_err_total.add(1)
        self._vehicle_log.error(
            "connection_failed",
            vin,
            lambda: {
                "device_id": vin,
                "remote_ip": remote,
                "error": f"{type(error).__name__}: {error}",
                "traceback": "".join(traceback.format_exception(error)),
            },
        )

    def handshake_failed(self, failure: HandshakeFailure, remote: str) -> None:
        """Log and count a failed handshake."""
        self._metrics.counter(TLS_HANDSHAKE_ERROR_TOTAL, reason=failure.reason).add(1)
        self._show(failure, remote)
        if self._log_handshake_errors:
            error, what, fix, certificate = failure.error, failure.what, failure.fix, failure.certificate
            shown = {} if certificate is None else certificate_fields(certificate)
            self.stranger_error(
                "tls_handshake_error", failure.reason, error=error, remote_ip=remote, what=what, fix=fix, **shown
            )

    def _show(self, failure: HandshakeFailure, remote: str) -> None:
        if self._recent_refusals is None:
            return
        certificate = failure.certificate
        issuer, not_after = ("", None) if certificate is None else (certificate.issuer, certificate.not_after)
        self._recent_refusals.add(
            RefusalKind.HANDSHAKE,
            failure.reason,
            failure.what,
            fix=failure.fix,
            address=remote,
            issuer=issuer,
            not_after_ms=None if not_after is None else int(not_after.timestamp() * 1000),
        )

    def _admit(self, kind: str, lines: int) -> dict[str, int] | None:
        return self._lines.fields(kind, "", self._monotonic(), lines)
