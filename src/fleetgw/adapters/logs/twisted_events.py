"""Twisted's own log events, unhandled errors included, in the gateway's log."""

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from zope.interface import implementer

from fleetgw.domain.ports import ILog


@implementer(ILogObserver)
class TwistedLogObserver:
    """Give it to twistd as the application's ``ILogObserver``; it writes to the gateway's log.

    A failure becomes the error event ``twisted_error`` with ``error``, ``traceback`` and ``text`` (what was going on); an
    event of level error or critical the same without a traceback; a warning ``twisted_warning``; and everything else,
    Twisted's chatter, the debug event ``twisted_event``.
    """

    def __init__(self, log: ILog) -> None:
        self._log = log

    def __call__(self, event: LogEvent) -> None:
        """Write one event of Twisted's."""
        level = event.get("log_level", LogLevel.info)
        failure = event.get("log_failure")
        if failure is not None:
            self._log.error(
                "twisted_error",
                error=failure.getErrorMessage(),
                text=formatEvent(event),
                system=event.get("log_namespace", ""),
                traceback=failure.getTraceback(),
            )
        elif level >= LogLevel.error:
            self._log.error("twisted_error", error=formatEvent(event), system=event.get("log_namespace", ""))
        elif level is LogLevel.warn:
            self._log.warn("twisted_warning", text=formatEvent(event), system=event.get("log_namespace", ""))
        elif self._log.debug_enabled:
            self._log.debug("twisted_event", text=formatEvent(event), system=event.get("log_namespace", ""))
