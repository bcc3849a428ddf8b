"""Reports errors to an Airbrake server, or one that speaks its API such as Errbit."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Never

from attrs import frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import Protocol, connectionDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from fleetgw.adapters.errors.notice import NoticeWriter
from fleetgw.adapters.errors.queue import ErrorQueue, WaitingError
from fleetgw.adapters.secrets.secret import with_secrets_read_again
from fleetgw.domain.backoff import Backoff
from fleetgw.domain.line_limit import LineLimit
from fleetgw.domain.ports import IErrorReporter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted.internet.interfaces import IConsumer, IDelayedCall
    from twisted.python.failure import Failure
    from twisted.web.iweb import IAgent, IResponse

    from fleetgw.adapters.process.reactor import IThreadedReactor
    from fleetgw.domain.ports import ILog


DEFAULT_HOST = "https://api.airbrake.io"

PAUSE_S = 1.0
"""From one burst of notices to the next: like errors are reported at most once in this time."""

CONNECT_TIMEOUT_S = 5.0

REQUEST_TIMEOUT_S = 10.0

LAST_NOTICES_S = 2.0
"""How long stopping may wait for the server."""

_BACKOFF_MAX_S = 60.0
_TOO_MANY_REQUESTS = 429
_SERVER_ERRORS = 500
_MAX_ANSWER_BYTES = 65_536


@frozen
class AirbrakeProject:
    """Where notices go.

    :ivar host: URL of the server.
    :ivar key: of the project, a secret; when it is in a file, that is read for each notice.
    :ivar environment: name of ours.
    """

    host: str
    project_id: int
    key: str
    environment: str

    @property
    def url(self) -> str:
        """Where notices are posted."""
        return f"{(self.host or DEFAULT_HOST).rstrip('/')}/api/v3/projects/{self.project_id}/notices"


class _ServerFailed(Exception):
    """The server did not take a notice; it may take it later."""


class _NoticeRefused(Exception):
    """The server will not take this notice."""


@implementer(IErrorReporter)
class AirbrakeReporter:
    """Sends notices one after another, in bursts that are at least a second apart; waits longer while the server fails.

    :param agent: makes the requests.
    """

    def __init__(self, project: AirbrakeProject, agent: IAgent, reactor: IThreadedReactor, log: ILog) -> None:
        self._project = project
        self._writer = NoticeWriter(project.environment)
        self._agent = agent
        self._reactor = reactor
        self._log = log
        self._queue = ErrorQueue()
        self._backoff = Backoff(PAUSE_S, _BACKOFF_MAX_S)
        self._random = Random()  # noqa: S311  jitter needs no secrecy
        self._lines = LineLimit()
        self._running = False
        self._sending: Deferred[float] | None = None
        self._pause: IDelayedCall | None = None

    def start(self) -> Deferred[None]:
        """See ``IErrorReporter``."""
        self._running = True
        self._wake()
        return succeed(None)

    def report(self, event: str, fields: Mapping[str, object]) -> None:
        """See ``IErrorReporter``."""
        if self._queue.add(WaitingError(event, dict(fields))):
            self._reactor.callFromThread(self._wake)

    def stop(self) -> Deferred[None]:
        """See ``IErrorReporter``. Waits for the server for two seconds at most."""
        self._running = False
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        stopped = Deferred.fromCoroutine(self._send_last())
        stopped.addTimeout(LAST_NOTICES_S, self._reactor)
        return stopped.addErrback(lambda _failure: None)

    async def _send_last(self) -> None:
        if self._sending is not None:
            await self._sending
        if not self._backoff.failures:
            await self._send_waiting()

    def _wake(self) -> None:
        if self._running and self._sending is None and self._pause is None and len(self._queue):
            self._sending = Deferred.fromCoroutine(self._send_waiting())
            self._sending.addCallback(self._sent)

    def _sent(self, pause_s: float) -> float:
        self._sending = None
        if self._running:
            self._pause = self._reactor.callLater(pause_s, self._go_on)
        return pause_s

    def _go_on(self) -> None:
        self._pause = None
        self._wake()

    async def _send_waiting(self) -> float:
        """Send what waits now; seconds to wait before the next time."""
        errors = self._queue.take_all()
        for place, error in enumerate(errors):
            try:
                await self._post(self._writer.write(error))
            except _NoticeRefused as refusal:
                self._queue.put_back(errors[place + 1 :])
                return self._failed(refusal)
            except Exception as failure:  # whatever the network, TLS or a file may come up with
                self._queue.put_back(errors[place:])
                return self._failed(failure)
        self._backoff.succeeded()
        return PAUSE_S

    def _failed(self, error: Exception) -> float:
        if self._lines.admit("", "", self._reactor.seconds(), 1) is not None:
            dropped = self._queue.take_dropped()
            self._log.warn("airbrake_err", error=str(error) or type(error).__name__, dropped_errors=dropped)
        return self._backoff.failed(self._random.random())

    async def _post(self, body: bytes) -> None:
        answer = Deferred.fromCoroutine(self._answer(body))
        code = await answer.addTimeout(REQUEST_TIMEOUT_S, self._reactor, _timed_out)
        if code == _TOO_MANY_REQUESTS or code >= _SERVER_ERRORS:
            raise _ServerFailed(f"{self._project.url} answered {code}")
        if not 200 <= code < 300:
            raise _NoticeRefused(f"{self._project.url} answered {code}: check airbrake.project_id and project_key")

    async def _answer(self, body: bytes) -> int:
        key: str = with_secrets_read_again(self._project.key)
        headers = Headers(
            {
                b"Authorization": [b"Bearer " + key.encode()],
                b"Content-Type": [b"application/json"],
                b"User-Agent": [b"fleetgw"],
            }
        )
        response = await self._agent.request(b"POST", self._project.url.encode(), headers, _Body(body))
        await _ended(response)
        return int(response.code)


def _timed_out(_result: object, timeout_s: float) -> Never:
    raise _ServerFailed(f"no answer within {timeout_s:g} seconds")


@implementer(IBodyProducer)
class _Body:
    """The body of a request, written at once."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write it all."""
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Nothing is left to pause."""

    def resumeProducing(self) -> None:
        """Nothing was paused."""

    def stopProducing(self) -> None:
        """Nothing is left to stop."""


class _Discarded(Protocol):
    """Reads an answer to its end, and keeps nothing of it."""

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred(lambda _: self._abort())
        self._read_bytes = 0

    def dataReceived(self, data: bytes) -> None:
        """Look at the length only."""
        self._read_bytes += len(data)
        if self._read_bytes > _MAX_ANSWER_BYTES:
            self._abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002  as Twisted calls it
        """The answer has ended, in one way or other: its head has said all."""
        if not self.ended.called:
            self.ended.callback(None)

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()


def _ended(response: IResponse) -> Deferred[None]:
    answer = _Discarded()
    response.deliverBody(answer)
    return answer.ended
