"""Twisted's own log events in the gateway's log, unhandled errors included."""

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from zope.interface import implementer

from fleetgw.domain.ports import ILog


@implementer(ILogObserver)
class TwistedLogObserver:
    """Writes to the gateway's log; twistd takes it as the application's ``ILogObserver``.

    A failure becomes the error event ``twisted_error`` with ``error``, ``traceback`` and ``text`` (Twisted's message); an
    event of level error or critical becomes the same without a traceback, a warning becomes ``twisted_warning``, and every
    other event the debug event ``twisted_event``.
    """

    def __init__(self, log: ILog) -> None:
        self._log = log

    def __call__(self, event: LogEvent) -> None:
        """Write one of Twisted's events."""
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
