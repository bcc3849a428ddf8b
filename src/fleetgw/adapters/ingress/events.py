"""Log events and counters of ingress. The rate of lines that strangers and vehicles can cause is bounded."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost

from fleetgw.domain.line_limit import LineLimit
from fleetgw.domain.metrics import SOCKET_ERR_TOTAL, TLS_HANDSHAKE_ERROR_TOTAL
from fleetgw.domain.vehicle_log import VehicleLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.python.failure import Failure

    from fleetgw.domain.ports import ILog, IMetrics

STRANGERS_LINES = 20
"""Maximum number of log lines in ten seconds of each kind that strangers can cause."""

REQUEST_LINES = 1000
"""The same for ``request_start`` and ``request_end``, which only the holder of a trusted certificate can cause."""

HANDSHAKE_REASONS = (
    "certificate has expired",
    "certificate is not yet valid",
    "certificate revoked",
    "unable to get local issuer certificate",
    "unsuitable certificate purpose",
    "certificate verify failed",
    "http request",
    "no application protocol",
    "no shared cipher",
    "peer did not return a certificate",
    "unsupported protocol",
    "wrong version number",
)
"""Label values of failed handshakes: the first that is part of OpenSSL's text, otherwise ``other``."""


class IngressEvents:
    """Logs and counts the events of all connections.

    :param log_handshake_errors: whether failed handshakes are logged; they are counted in any case.
    """

    def __init__(
        self, metrics: IMetrics, log: ILog, monotonic: Callable[[], float], *, log_handshake_errors: bool = True
    ) -> None:
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

    def connection_failed(self, vin: str, error: Exception) -> None:
        """Log and count an exception during the handling of a peer's bytes."""
        self._socket_err_total.add(1)
        self._vehicle_log.error(
            "connection_failed",
            vin,
            lambda: {
                "device_id": vin,
                "error": f"{type(error).__name__}: {error}",
                "traceback": "".join(traceback.format_exception(error)),
            },
        )

    def handshake_lost(self, reason: Failure, problem: str, remote: str) -> None:
        """Log and count the end of a connection before its upgrade, unless the peer closed it regularly.

        :param problem: OpenSSL's error about the peer's certificate, or empty.
        """
        if reason.check(ConnectionDone, ConnectionAborted, ConnectionLost):
            return
        text = _openssl_reason(reason) + (f": {problem}" if problem else "")
        label = next((known for known in HANDSHAKE_REASONS if known in text), "other")
        self._metrics.counter(TLS_HANDSHAKE_ERROR_TOTAL, reason=label).add(1)
        if self._log_handshake_errors:
            self.stranger_error("tls_handshake_error", label, error=text, remote_ip=remote)

    def _admit(self, kind: str, lines: int) -> dict[str, int] | None:
        return self._lines.fields(kind, "", self._monotonic(), lines)


def _openssl_reason(reason: Failure) -> str:
    error = reason.value
    errors = error.args[0] if error is not None and error.args else None
    if isinstance(errors, list) and errors and isinstance(errors[-1], tuple):
        return "; ".join(str(entry[-1]) for entry in errors)
    return str(error) or type(error).__name__
