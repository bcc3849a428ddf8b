"""Reports errors to an Airbrake server at a bounded rate."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from fleetgw.adapters.errors.airbrake_client import AirbrakeClient, NoticeRefused
from fleetgw.adapters.errors.notice import NoticeWriter, reportable
from fleetgw.adapters.errors.queue import ErrorQueue, PendingError
from fleetgw.domain.backoff import Backoff
from fleetgw.domain.line_limit import LineLimit
from fleetgw.domain.ports import IErrorReporter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted.internet.interfaces import IDelayedCall

    from fleetgw.adapters.errors.airbrake_client import AirbrakeProject
    from fleetgw.adapters.http_client.client import HttpClient
    from fleetgw.adapters.process.reactor import IThreadedReactor
    from fleetgw.domain.ports import ILog


INTERVAL_S = 1.0
"""Time between two bursts of notices; like errors are at most one notice of a burst."""

STOP_TIMEOUT_S = 2.0
"""Longest wait for the server when the gateway stops."""

_BACKOFF_MAX_S = 60.0


@implementer(IErrorReporter)
class AirbrakeReporter:
    """Sends notices one after another, in bursts at least ``INTERVAL_S`` apart, with backoff while the server fails.

    :param client: makes the HTTP requests.
    """

    def __init__(self, project: AirbrakeProject, client: HttpClient, reactor: IThreadedReactor, log: ILog) -> None:
        self._client = AirbrakeClient(project, client)
        self._writer = NoticeWriter(project.environment)
        self._reactor = reactor
        self._log = log
        self._queue = ErrorQueue()
        self._backoff = Backoff(INTERVAL_S, _BACKOFF_MAX_S)
        self._random = Random()  # noqa: S311  jitter needs no secrecy
        self._lines = LineLimit()
        self._running = False
        self._sending: Deferred[float] | None = None
        self._pause: IDelayedCall | None = None

    def start(self) -> Deferred[None]:
        """See ``IErrorReporter``."""
        self._running = True
        self._send_when_idle()
        return succeed(None)

    def report(self, event: str, fields: Mapping[str, object]) -> None:
        """See ``IErrorReporter``."""
        if self._queue.add(PendingError(event, reportable(fields))):
            self._reactor.callFromThread(self._send_when_idle)

    def stop(self) -> Deferred[None]:
        """See ``IErrorReporter``. Sends the queue without a pause, and waits ``STOP_TIMEOUT_S`` for the server at most."""
        self._running = False
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        stopped = Deferred.fromCoroutine(self._send_last())
        stopped.addTimeout(STOP_TIMEOUT_S, self._reactor)
        return stopped.addErrback(lambda _failure: None)

    async def _send_last(self) -> None:
        if self._sending is not None:
            await self._sending
        if not self._backoff.failures:
            await self._send_queue()

    def _send_when_idle(self) -> None:
        if self._running and self._sending is None and self._pause is None and len(self._queue):
            self._sending = Deferred.fromCoroutine(self._send_queue())
            self._sending.addCallback(self._sent)

    def _sent(self, pause_s: float) -> float:
        self._sending = None
        if self._running:
            self._pause = self._reactor.callLater(pause_s, self._pause_ended)
        return pause_s

    def _pause_ended(self) -> None:
        self._pause = None
        self._send_when_idle()

    async def _send_queue(self) -> float:
        """Send every queued error, until one fails; return the seconds to wait before the next burst."""
        errors = self._queue.take_all()
        for index, error in enumerate(errors):
            try:
                await self._client.post(self._writer.write(error))
            except NoticeRefused as refusal:
                self._queue.put_back(errors[index + 1 :])
                return self._failed(refusal)
            except Exception as failure:  # errors of the network, of TLS and of files share no base class
                self._queue.put_back(errors[index:])
                return self._failed(failure)
        self._backoff.succeeded()
        if self._queue.dropped:
            self._warn("the queue was full")
        return INTERVAL_S

    def _failed(self, error: Exception) -> float:
        self._warn(str(error) or type(error).__name__)
        return self._backoff.failed(self._random.random())

    def _warn(self, error: str) -> None:
        if self._lines.admit("", "", self._reactor.seconds(), 1) is not None:
            self._log.warn("airbrake_err", error=error, dropped_errors=self._queue.take_dropped())
