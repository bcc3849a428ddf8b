"""Reads certificates and credentials again that are replaced while the gateway runs: on request, and every minute."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed

from fleetgw.domain.ports import IReloadable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from fleetgw.app.service.sink_runner import SinkRunner
    from fleetgw.domain.ports import ILog

LOOK_EVERY_S = 60.0


class CredentialReloader:
    """Asks the TLS context, and every started sink that provides ``IReloadable``, to read changed files again."""

    def __init__(self, tls: IReloadable, runners: Iterable[SinkRunner], clock: IReactorTime, log: ILog) -> None:
        self._tls = tls
        self._runners = runners
        self._clock = clock
        self._log = log
        self._next_look: IDelayedCall | None = None
        self._failures: dict[str, str] = {}

    def start(self) -> Deferred[None]:
        """Look at the files every minute from now on."""
        self._next_look = self._clock.callLater(LOOK_EVERY_S, self._look)
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """Look at the files no more; harmless when it has not started."""
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None
        return succeed(None)

    def reload(self) -> None:
        """Read again what has changed. Says so, and says again what cannot be used."""
        self._failures.clear()
        if (files := self._read_again("", self._tls, "certificates_not_reloaded")) is not None:
            self._log.info("certificates_reloaded", files=[*files])
        self._reload_sinks()

    def _look(self) -> None:
        self._next_look = self._clock.callLater(LOOK_EVERY_S, self._look)
        if files := self._read_again("", self._tls, "certificates_not_reloaded"):
            self._log.info("certificates_reloaded", files=[*files])
        self._reload_sinks()

    def _reload_sinks(self) -> None:
        for sink in [runner.sink for runner in self._runners if runner.is_started]:
            if IReloadable.providedBy(sink):
                reloadable: IReloadable = IReloadable(sink)
                if files := self._read_again(sink.name, reloadable, "credentials_not_reloaded", dispatcher=sink.name):
                    self._log.info("credentials_reloaded", dispatcher=sink.name, files=[*files])

    def _read_again(self, name: str, reloadable: IReloadable, event: str, **fields: object) -> Sequence[str] | None:
        """The files that were read again; None when one cannot be used. A failure is logged once until it changes."""
        try:
            files = reloadable.reload()
        except Exception as error:  # whatever stands against the new files, the old content serves on
            reason = str(error) or type(error).__name__
            if self._failures.get(name) != reason:
                self._log.error(event, error=reason, **fields)
            self._failures[name] = reason
            return None
        self._failures.pop(name, None)
        return files
