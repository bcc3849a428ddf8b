"""HTTP client of an Airbrake server, or of one that speaks its API such as Errbit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Never

from attrs import frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import Protocol, connectionDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from fleetgw.adapters.secrets.secret import with_secrets_read_again

if TYPE_CHECKING:
    from twisted.internet.interfaces import IConsumer, IReactorTime
    from twisted.python.failure import Failure
    from twisted.web.iweb import IAgent, IResponse

DEFAULT_HOST = "https://api.airbrake.io"

CONNECT_TIMEOUT_S = 5.0

REQUEST_TIMEOUT_S = 10.0

_TOO_MANY_REQUESTS = 429
_SERVER_ERRORS = 500
_MAX_RESPONSE_BYTES = 65_536


@frozen
class AirbrakeProject:
    """Destination of notices.

    :ivar host: URL of the server; empty: Airbrake's own.
    :ivar key: of the project, a secret; a key in a file is read again for each notice.
    :ivar environment: name of this installation, such as ``production``.
    """

    host: str
    project_id: int
    key: str
    environment: str

    @property
    def url(self) -> str:
        """URL that notices are posted to."""
        return f"{(self.host or DEFAULT_HOST).rstrip('/')}/api/v3/projects/{self.project_id}/notices"


class ServerFailed(Exception):
    """The server did not take a notice; a retry may succeed."""


class NoticeRefused(Exception):
    """The server refused a notice for good."""


class AirbrakeClient:
    """Posts notices to one project.

    :param agent: makes the requests.
    """

    def __init__(self, project: AirbrakeProject, agent: IAgent, reactor: IReactorTime) -> None:
        self._project = project
        self._agent = agent
        self._reactor = reactor

    async def post(self, body: bytes) -> None:
        """Post one notice.

        :raises NoticeRefused: the server refused this notice.
        :raises Exception: a retry may succeed: ``ServerFailed``, or any error of the network, of TLS or of the key's file.
        """
        answer = Deferred.fromCoroutine(self._status_code(body))
        code = await answer.addTimeout(REQUEST_TIMEOUT_S, self._reactor, _timed_out)
        if code == _TOO_MANY_REQUESTS or code >= _SERVER_ERRORS:
            raise ServerFailed(f"{self._project.url} answered {code}")
        if not 200 <= code < 300:
            raise NoticeRefused(f"{self._project.url} answered {code}: check airbrake.project_id and project_key")

    async def _status_code(self, body: bytes) -> int:
        key: str = with_secrets_read_again(self._project.key)
        headers = Headers(
            {
                b"Authorization": [b"Bearer " + key.encode()],
                b"Content-Type": [b"application/json"],
                b"User-Agent": [b"fleetgw"],
            }
        )
        response = await self._agent.request(b"POST", self._project.url.encode(), headers, _Body(body))
        await _read_to_end(response)
        return int(response.code)


def _timed_out(_result: object, timeout_s: float) -> Never:
    raise ServerFailed(f"no answer within {timeout_s:g} seconds")


@implementer(IBodyProducer)
class _Body:
    """Body of a request, written at once."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write the whole body."""
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Nothing is left to pause."""

    def resumeProducing(self) -> None:
        """Nothing was paused."""

    def stopProducing(self) -> None:
        """Nothing is left to stop."""


class _Discarded(Protocol):
    """Reads the body of a response to its end and discards it."""

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred(lambda _: self._abort())
        self._read_bytes = 0

    def dataReceived(self, data: bytes) -> None:
        """Count the bytes; close the connection when there are too many."""
        self._read_bytes += len(data)
        if self._read_bytes > _MAX_RESPONSE_BYTES:
            self._abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002  as Twisted calls it
        """End, for whatever reason: the status line is known already."""
        if not self.ended.called:
            self.ended.callback(None)

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()


def _read_to_end(response: IResponse) -> Deferred[None]:
    body = _Discarded()
    response.deliverBody(body)
    return body.ended
