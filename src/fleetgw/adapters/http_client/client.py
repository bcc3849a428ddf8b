"""Makes HTTP requests, each on a connection of its own that ends with the request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Never

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from fleetgw.adapters.http_client.connection import OneConnection

if TYPE_CHECKING:
    from twisted.internet.interfaces import IConsumer, IReactorTime
    from twisted.web.http_headers import Headers
    from twisted.web.iweb import IPolicyForHTTPS, IResponse

REQUEST_TIMEOUT_S = 10.0
"""Longest time from the request to the end of the response."""


class RequestFailed(Exception):
    """A request has no response; the text is the reason, such as "cannot be reached: Connection was refused"."""


@frozen
class HttpResponse:
    """A response.

    :ivar body: as far as it has come.
    :ivar fault: the reason for which the body is not whole; empty when it is.
    """

    code: int
    headers: Headers
    body: bytes
    fault: str = ""


@frozen
class HttpClient:
    """Makes requests to ``http`` and ``https`` URLs; redirections are not followed.

    :ivar tls: of ``https``; asked for each request.
    :ivar max_bytes: maximum size of a response, with its headers and all that TLS adds.
    """

    reactor: IReactorTime
    tls: IPolicyForHTTPS
    max_bytes: int

    def request(self, method: bytes, url: str, headers: Headers, body: bytes | None = None) -> Deferred[HttpResponse]:
        """Make a request. Calls may overlap.

        :param url: in ASCII.
        :return: fires with the response; fails with ``RequestFailed`` when none has begun, or when it has not ended
            ``REQUEST_TIMEOUT_S`` after the call. Cancelling closes the connection.
        """
        response = Deferred.fromCoroutine(self._request(method, url, headers, body))
        return response.addTimeout(REQUEST_TIMEOUT_S, self.reactor, _timed_out)

    async def _request(self, method: bytes, url: str, headers: Headers, body: bytes | None) -> HttpResponse:
        connection = OneConnection(self.reactor, self.tls)
        agent = Agent.usingEndpointFactory(self.reactor, connection)
        try:
            response = await agent.request(method, url.encode("ascii"), headers, None if body is None else _Sent(body))
            connection.max_bytes = self.max_bytes
            received = await _received(response)
        except Exception as error:  # of the network, of TLS, of HTTP, of the file of an authority
            cause = _cause(error)
            if isinstance(cause, CancelledError | ConnectingCancelledError):
                raise CancelledError from error
            raise RequestFailed(connection.fault or f"cannot be reached: {_text(cause)}") from error
        finally:
            connection.abort()
        return HttpResponse(response.code, response.headers, received.body, connection.fault or received.fault)


def _timed_out(_result: object, timeout_s: float) -> Never:
    raise RequestFailed(f"gave no answer within {timeout_s:g} s")


def _cause(error: BaseException | None) -> BaseException | None:
    """The error of the connection, which Twisted's client wraps in one of its own."""
    match getattr(error, "reasons", None):
        case [Failure(value=BaseException() as cause), *_]:
            return cause
    return error


def _text(error: BaseException | None) -> str:
    return str(error) or type(error).__name__


@implementer(IBodyProducer)
class _Sent:
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


class _Received(Protocol):
    """Collects the body of a response; the connection bounds it.

    :ivar ended: fires with this object.
    :ivar fault: as in ``HttpResponse``.
    """

    def __init__(self) -> None:
        self.ended: Deferred[_Received] = Deferred()
        self.fault = ""
        self._parts: list[bytes] = []

    @property
    def body(self) -> bytes:
        """The bytes that have come."""
        return b"".join(self._parts)

    def dataReceived(self, data: bytes) -> None:
        """Keep the bytes."""
        self._parts.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End."""
        if not reason.check(ResponseDone, PotentialDataLoss):
            self.fault = f"broke off its answer: {_text(_cause(reason.value))}"
        self.ended.callback(self)


def _received(response: IResponse) -> Deferred[_Received]:
    body = _Received()
    response.deliverBody(body)
    return body.ended
