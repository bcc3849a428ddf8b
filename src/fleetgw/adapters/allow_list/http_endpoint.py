"""The allow list at an HTTP endpoint."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Never

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import NOT_MODIFIED, OK, PotentialDataLoss
from twisted.web.http_headers import Headers
from zope.interface import implementer

from fleetgw.adapters.allow_list.entries import from_json
from fleetgw.adapters.process.call_in_thread import call_in_thread
from fleetgw.adapters.secrets.masking import masked
from fleetgw.adapters.secrets.secret import with_secrets_read_again
from fleetgw.domain.errors import UnusableAllowList
from fleetgw.domain.ports import IAllowListSource

if TYPE_CHECKING:
    from twisted.web.iweb import IAgent, IResponse

    from fleetgw.adapters.process.reactor import IThreadedReactor

REQUEST_TIMEOUT_S = 10.0
"""Longest time from the request to the end of the response."""

MAX_BODY_BYTES = 32 * 1024 * 1024


@implementer(IAllowListSource)
@define(eq=False)
class AllowListEndpoint:
    """A URL that answers with JSON; see ``entries.from_json``. ``ETag`` and ``304 Not Modified`` spare the body.

    :ivar url: ``http`` or ``https``; redirections are not followed.
    :ivar authorization: value of the request's header ``Authorization``; one in a file is read for each request.
    """

    url: str
    agent: IAgent
    reactor: IThreadedReactor
    interval_s: float
    authorization: str | None = field(default=None, repr=False)
    _etag: bytes | None = field(default=None, init=False)
    _digest: bytes = field(default=b"", init=False)

    @property
    def name(self) -> str:
        """See ``IAllowListSource``."""
        return masked(self.url)

    def read(self) -> Deferred[frozenset[str] | None]:
        """See ``IAllowListSource``."""
        answer = Deferred.fromCoroutine(self._read())
        return answer.addTimeout(REQUEST_TIMEOUT_S, self.reactor, _timed_out)

    async def _read(self) -> frozenset[str] | None:
        try:
            response = await self.agent.request(b"GET", self.url.encode("ascii"), self._headers(), None)
            body = await _body_of(response)
        except (CancelledError, UnusableAllowList):
            raise
        except Exception as error:  # of the network, of TLS, of HTTP, of the file of a secret or an authority
            cause = _cause(error)
            if isinstance(cause, CancelledError):
                raise cause from error
            raise UnusableAllowList(f"cannot be reached: {str(cause) or type(cause).__name__}") from error
        if response.code == NOT_MODIFIED and self._etag is not None:
            return None
        if response.code != OK:
            raise UnusableAllowList(f"answered {response.code}; 200 with a JSON array of VINs was expected")
        digest = sha256(body).digest()
        if digest == self._digest:
            return None
        vehicles = await call_in_thread(self.reactor, lambda: from_json(body))
        etags = response.headers.getRawHeaders(b"ETag") or [None]
        self._etag, self._digest = etags[0], digest
        return vehicles

    def _headers(self) -> Headers:
        headers = Headers({b"Accept": [b"application/json"], b"User-Agent": [b"fleetgw"]})
        if self.authorization:
            text: str = with_secrets_read_again(self.authorization)
            headers.setRawHeaders(b"Authorization", [text.encode()])
        if self._etag is not None:
            headers.setRawHeaders(b"If-None-Match", [self._etag])
        return headers


def _timed_out(_result: object, timeout_s: float) -> Never:
    raise UnusableAllowList(f"gave no answer within {timeout_s:g} s")


def _cause(error: Exception) -> BaseException:
    """The error of the connection, which Twisted's client wraps in one of its own."""
    match getattr(error, "reasons", None):
        case [Failure(value=BaseException() as cause), *_]:
            return cause
    return error


class _Body(Protocol):
    """Collects the body of a response, up to ``MAX_BODY_BYTES``."""

    def __init__(self) -> None:
        self.ended: Deferred[bytes] = Deferred(lambda _: self._abort())
        self._parts: list[bytes] = []
        self._size_bytes = 0

    def dataReceived(self, data: bytes) -> None:
        """Keep the bytes; close the connection when there are too many."""
        self._parts.append(data)
        self._size_bytes += len(data)
        if self._size_bytes > MAX_BODY_BYTES:
            self._parts.clear()
            self._abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End with the body, or with the reason why it is not whole."""
        if self.ended.called:
            return
        if self._size_bytes > MAX_BODY_BYTES:
            self.ended.errback(UnusableAllowList(f"is longer than {MAX_BODY_BYTES} bytes"))
        elif reason.check(ResponseDone, PotentialDataLoss):
            self.ended.callback(b"".join(self._parts))
        else:
            self.ended.errback(reason)

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()


def _body_of(response: IResponse) -> Deferred[bytes]:
    body = _Body()
    response.deliverBody(body)
    return body.ended
