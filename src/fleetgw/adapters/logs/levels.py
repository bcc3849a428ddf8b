"""How much is logged."""

from enum import IntEnum


class Level(IntEnum):
    """Importance of a log event; a log writes the events at or above its own level."""

    DEBUG = 10
    INFO = 20
    WARN = 30
    ERROR = 40

    @property
    def text(self) -> str:
        """The level as lines show it, in the Go server's words."""
        return "warning" if self is Level.WARN else self.name.lower()


LEVELS = {"trace": Level.DEBUG, "debug": Level.DEBUG, "info": Level.INFO, "warn": Level.WARN, "error": Level.ERROR}
"""``log_level`` of the configuration. Nothing here is finer than debug, so trace means debug."""
