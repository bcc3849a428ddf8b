"""Levels of log events."""

from enum import IntEnum


class Level(IntEnum):
    """Importance of a log event; a log writes the events at or above its own level.

    :ivar text: name of the level in a line, as the Go server writes it.
    """

    DEBUG = 10
    INFO = 20
    WARN = 30
    ERROR = 40

    def __init__(self, _value: int) -> None:
        self.text = "warning" if self.name == "WARN" else self.name.lower()


LEVELS = {"trace": Level.DEBUG, "debug": Level.DEBUG, "info": Level.INFO, "warn": Level.WARN, "error": Level.ERROR}
"""Level by ``log_level`` of the configuration. No event is finer than debug, so trace means debug."""
