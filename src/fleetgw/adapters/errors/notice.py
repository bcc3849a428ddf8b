"""Notices as the Airbrake API takes them (``POST /api/v3/projects/<id>/notices``)."""

from __future__ import annotations

import platform
import socket
from importlib.metadata import version
from typing import TYPE_CHECKING

from fleetgw.adapters.logs.cutting import cut_long_texts
from fleetgw.adapters.logs.json_text import to_json
from fleetgw.adapters.secrets.masking import masked

if TYPE_CHECKING:
    from fleetgw.adapters.errors.queue import WaitingError

MAX_BODY_BYTES = 64_000
"""Airbrake refuses notices over 64 kB."""

_LEFT_OUT = frozenset({"payload_base64"})
"""Fields of log events that are no part of a notice: a payload is a vehicle's data."""

_ESSENTIAL = ("log_type", "error", "count")


class NoticeWriter:
    """Writes notices of this process.

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

    def write(self, error: WaitingError) -> bytes:
        """The body of a request.

        As in the Go server, the message is the event's name, and ``params`` has ``log_type`` and the event's fields.
        Passwords in them are masked. ``count`` is the number of like errors since the last notice.
        """
        fields = {name: value for name, value in error.fields.items() if name not in _LEFT_OUT}
        cut_long_texts(fields)
        params = {name: masked(value) if isinstance(value, str) else value for name, value in fields.items()}
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
