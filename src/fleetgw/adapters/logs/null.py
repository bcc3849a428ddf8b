"""A log that writes nothing."""

from zope.interface import implementer

from fleetgw.domain.ports import ILog


@implementer(ILog)
class NullLog:
    """Takes every event and drops it."""

    debug_enabled = False
    info_enabled = False

    def debug(self, event: str, **fields: object) -> None:
        """Drop it."""

    def info(self, event: str, **fields: object) -> None:
        """Drop it."""

    def warn(self, event: str, **fields: object) -> None:
        """Drop it."""

    def error(self, event: str, **fields: object) -> None:
        """Drop it."""
