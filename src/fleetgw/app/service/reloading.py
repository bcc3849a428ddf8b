"""Reloads certificates and credentials whose files were replaced: on request, and every minute."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed

from fleetgw.domain.ports import IReloadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from fleetgw.app.service.sink_runner import SinkRunner
    from fleetgw.domain.ports import ILog

CHECK_INTERVAL_S = 60.0


class CredentialReloader:
    """Asks the TLS context, and every started sink that provides ``IReloadable``, to read changed files again."""

    def __init__(
        self,
        tls: IReloadable,
        runners: Iterable[SinkRunner],
        have_read: Callable[[], object],
        clock: IReactorTime,
        log: ILog,
    ) -> None:
        """:param have_read: called after each reading."""
        self._tls = tls
        self._runners = runners
        self._have_read = have_read
        self._clock = clock
        self._log = log
        self._next_check: IDelayedCall | None = None
        self._failures: dict[str, str] = {}

    def start(self) -> Deferred[None]:
        """Check the files every minute from now on."""
        self._next_check = self._clock.callLater(CHECK_INTERVAL_S, self._check)
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """Check the files no more; does nothing when it has not started."""
        if self._next_check is not None:
            self._next_check.cancel()
            self._next_check = None
        return succeed(None)

    def reload(self) -> None:
        """Read changed files again. Logs which, and logs a file that cannot be used even if that has been logged before."""
        self._failures.clear()
        if (files := self._read_again("", self._tls, "certificates_not_reloaded")) is not None:
            self._log.info("certificates_reloaded", files=[*files])
        self._reload_sinks()

    def _check(self) -> None:
        self._next_check = self._clock.callLater(CHECK_INTERVAL_S, self._check)
        if files := self._read_again("", self._tls, "certificates_not_reloaded"):
            self._log.info("certificates_reloaded", files=[*files])
        self._reload_sinks()

    def _reload_sinks(self) -> None:
        for sink in [runner.sink for runner in self._runners if runner.is_started]:
            if IReloadable.providedBy(sink):
                reloadable: IReloadable = IReloadable(sink)
                if files := self._read_again(sink.name, reloadable, "credentials_not_reloaded", dispatcher=sink.name):
                    self._log.info("credentials_reloaded", dispatcher=sink.name, files=[*files])
        self._have_read()

    def _read_again(self, name: str, reloadable: IReloadable, event: str, **fields: object) -> Sequence[str] | None:
        """The files that were read again; None when one cannot be used. The same failure is logged once."""
        try:
            files = reloadable.reload()
        except Exception as error:  # whatever is wrong with the new files, the old content stays in use
            reason = str(error) or type(error).__name__
            if self._failures.get(name) != reason:
                self._log.error(event, error=reason, **fields)
            self._failures[name] = reason
            return None
        self._failures.pop(name, None)
        return files
