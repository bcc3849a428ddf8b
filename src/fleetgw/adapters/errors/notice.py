"""Notices in the format of the Airbrake API (``POST /api/v3/projects/<id>/notices``)."""

from __future__ import annotations

import platform
import socket
from importlib.metadata import version
from typing import TYPE_CHECKING

from fleetgw.adapters.logs.cutting import cut_and_mask
from fleetgw.adapters.logs.json_text import to_json
from fleetgw.adapters.secrets.masking import masked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fleetgw.adapters.errors.queue import PendingError

MAX_BODY_BYTES = 64_000
"""Airbrake refuses notices over 64 kB."""

_OMITTED = frozenset({"payload_base64"})
"""Fields of log events that no notice has: a payload is a vehicle's data."""

_ESSENTIAL = ("log_type", "error", "count")


def reportable(fields: Mapping[str, object]) -> dict[str, object]:
    """Fields of a log event that a notice may have. They are small enough to be queued: no payload, no long text."""
    kept = {name: value for name, value in fields.items() if name not in _OMITTED}
    cut_and_mask(kept)
    return kept


class NoticeWriter:
    """Writes the notices of this process.

    :param environment: as configured, such as ``production``.
    """

    def __init__(self, environment: str) -> None:
        own_version = version("fleetgw")
        self._context = {
            "notifier": {"name": "fleetgw", "version": own_version},
            "version": own_version,
            "environment": environment,
            "hostname": socket.gethostname(),
            "os": platform.platform(),
            "language": f"Python {platform.python_version()}",
            "severity": "error",
        }

    def write(self, error: PendingError) -> bytes:
        """Body of the request that reports an error with ``reportable`` fields.

        As in the Go server, the message is the event's name, and ``params`` has ``log_type`` and the event's fields.
        Passwords in them are masked. ``count`` is the number of like errors since the last notice.
        """
        params = {name: masked(value) if isinstance(value, str) else value for name, value in error.fields.items()}
        params |= {"log_type": "error", "count": error.count}
        body = self._body(error.event, params)
        if len(body) > MAX_BODY_BYTES:
            body = self._body(error.event, {name: params[name] for name in _ESSENTIAL if name in params})
        return body

    def _body(self, event: str, params: dict[str, object]) -> bytes:
        return to_json(
            {
                "errors": [{"type": event, "message": event, "backtrace": []}],
                "context": self._context,
                "environment": {},
                "session": {},
                "params": params,
            }
        )
