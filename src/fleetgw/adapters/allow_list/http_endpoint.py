"""The allow list at an HTTP endpoint."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.web.http import NOT_MODIFIED, OK
from twisted.web.http_headers import Headers
from zope.interface import implementer

from fleetgw.adapters.allow_list.entries import from_json
from fleetgw.adapters.http_client.client import RequestFailed
from fleetgw.adapters.process.call_in_thread import call_in_thread
from fleetgw.adapters.secrets.masking import masked
from fleetgw.adapters.secrets.secret import UnusableSecretFile, with_secrets_read_again
from fleetgw.domain.errors import UnusableAllowList
from fleetgw.domain.ports import IAllowListSource

if TYPE_CHECKING:
    from fleetgw.adapters.http_client.client import HttpClient
    from fleetgw.adapters.process.reactor import IThreadedReactor


@implementer(IAllowListSource)
@define(eq=False)
class AllowListEndpoint:
    """A URL that answers with JSON; see ``entries.from_json``. ``ETag`` and ``304 Not Modified`` spare the body.

    :ivar url: ``http`` or ``https``; redirections are not followed.
    :ivar client: takes responses of at most ``entries.MAX_BYTES``.
    :ivar authorization: value of the request's header ``Authorization``; one in a file is read for each request.
    """

    url: str
    client: HttpClient
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
        return Deferred.fromCoroutine(self._read())

    async def _read(self) -> frozenset[str] | None:
        try:
            response = await self.client.request(b"GET", self.url, self._headers())
        except (RequestFailed, UnusableSecretFile) as error:
            raise UnusableAllowList(str(error)) from error
        if response.code == NOT_MODIFIED and self._etag is not None:
            return None
        if response.code != OK:
            raise UnusableAllowList(f"answered {response.code}; 200 with a JSON array of VINs was expected")
        if response.fault:
            raise UnusableAllowList(response.fault)
        body = response.body
        digest = sha256(body).digest()
        if digest == self._digest:
            return None
        vehicles = await call_in_thread(self.reactor, lambda: from_json(body))
        etags = response.headers.getRawHeaders(b"ETag")
        self._etag, self._digest = etags[0] if etags else None, digest
        return vehicles

    def _headers(self) -> Headers:
        headers = Headers({b"Accept": [b"application/json"], b"User-Agent": [b"fleetgw"]})
        if self.authorization:
            text: str = with_secrets_read_again(self.authorization)
            headers.setRawHeaders(b"Authorization", [text.encode()])
        if self._etag is not None:
            headers.setRawHeaders(b"If-None-Match", [self._etag])
        return headers
