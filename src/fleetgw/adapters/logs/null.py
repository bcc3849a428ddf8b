"""A log that writes nothing."""

from zope.interface import implementer

from fleetgw.domain.ports import ILog


@implementer(ILog)
class NullLog:
    """Drops every event."""

    debug_enabled = False
    info_enabled = False

    def debug(self, event: str, **fields: object) -> None:
        """Drop the event."""

    def info(self, event: str, **fields: object) -> None:
        """Drop the event."""

    def warn(self, event: str, **fields: object) -> None:
        """Drop the event."""

    def error(self, event: str, **fields: object) -> None:
        """Drop the event."""
