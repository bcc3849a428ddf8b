"""A log for programs that use Python's own ``logging``."""

import logging
from contextlib import suppress

from zope.interface import implementer

from fleetgw.adapters.logs.cutting import cut_and_mask
from fleetgw.adapters.logs.json_text import to_json
from fleetgw.domain.ports import ILog


@implementer(ILog)
class PythonLog:
    """Writes the event's name and its fields as JSON: ``socket_connected {"device_id": ...}``.

    The log record also has them as attributes of their own, ``event`` and ``fields``. The logger decides on levels.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    @property
    def debug_enabled(self) -> bool:
        """Whether ``debug`` writes."""
        return self._logger.isEnabledFor(logging.DEBUG)

    @property
    def info_enabled(self) -> bool:
        """Whether ``info`` writes."""
        return self._logger.isEnabledFor(logging.INFO)

    def debug(self, event: str, **fields: object) -> None:
        """Write an event for developers."""
        self._write(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        """Write an event of normal operation."""
        self._write(logging.INFO, event, fields)

    def warn(self, event: str, **fields: object) -> None:
        """Write an event that an operator should look at eventually."""
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Write an event that an operator should look at now."""
        self._write(logging.ERROR, event, fields)

    def _write(self, level: int, event: str, fields: dict[str, object]) -> None:
        if self._logger.isEnabledFor(level):
            with suppress(Exception):  # of the program's handlers: no place is left to report it
                cut_and_mask(fields)
                text = to_json(fields).decode()
                self._logger.log(level, "%s %s", event, text, extra={"event": event, "fields": fields})
