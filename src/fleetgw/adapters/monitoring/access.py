"""Decides which clients a route of the status port answers: by address, name of the host, origin and token."""

from __future__ import annotations

import hmac
import ipaddress
import re
from typing import TYPE_CHECKING, assert_never

from attrs import define, frozen
from twisted.web import http

from fleetgw.adapters.monitoring.client_faults import RequestRefusal
from fleetgw.adapters.monitoring.pages import Access

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.web.http_headers import Headers

_BEARER = b"bearer "
_OF_PROXIES = (b"Forwarded", b"X-Forwarded-For", b"X-Forwarded-Host", b"X-Real-IP", b"Via")
"""Headers of requests that a proxy passes on: its own address says nothing about the client."""

_HOST = re.compile(rb"(?:\[([0-9A-Fa-f:.]+)\]|([\w.-]+))(?::\d*)?")

_FOREIGN_SITES = frozenset({b"cross-site", b"same-site"})


@frozen
class Denied:
    """A request that is not answered, with the response in its place.

    :ivar error: the problem.
    :ivar fix: the remedy.
    """

    refusal: RequestRefusal
    code: int
    error: str
    fix: str


@frozen
class AccessRules:
    """The rules of the section ``operations``.

    :ivar token: None: nothing that needs one is shown.
    :ivar hosts: names in lower case under which clients of other machines may ask; empty: no such client may.
    """

    token: bytes | None = None
    hosts: frozenset[str] = frozenset()


@define
class AccessControl:
    """Applies the rules in effect.

    :ivar replaced: called when other rules apply, so that streams end that the earlier ones allowed.
    """

    rules: AccessRules = AccessRules()
    replaced: Callable[[], None] | None = None

    def use(self, rules: AccessRules) -> None:
        """Apply the rules of a reload."""
        if rules != self.rules:
            self.rules = rules
            if self.replaced is not None:
                self.replaced()

    def denial(self, access: Access, peer: str, headers: Headers) -> Denied | None:
        """The reason for which a request is not answered; None when it is.

        :param peer: the client's address.
        :param headers: of the request.
        """
        match access:
            case Access.PROBE:
                return None
            case Access.OPERATOR:
                return self._foreign(peer, headers) or _cross_origin(headers)
            case Access.TOKEN:
                return self._foreign(peer, headers) or _cross_origin(headers) or self._without_token(headers)
            case _:
                assert_never(access)

    def _foreign(self, peer: str, headers: Headers) -> Denied | None:
        given = _only(headers, b"Host")
        host = _name(given)
        is_of_this_machine = is_loopback(peer) and not any(map(headers.hasHeader, _OF_PROXIES))
        if host in self.rules.hosts or (is_loopback(host) and is_of_this_machine):
            return None
        if not is_of_this_machine and not self.rules.hosts:
            error = "this is shown to clients on the gateway's own machine alone"
            fix = "ask from there, or name this host in operations.hosts of the configuration"
        else:
            error = f"the request's Host names no host of this gateway: {given[:100].decode('ascii', 'replace')!r}"
            fix = "use a name of the gateway, or add this one to operations.hosts of the configuration"
        return Denied(RequestRefusal.FOREIGN_HOST, http.FORBIDDEN, error, fix)

    def _without_token(self, headers: Headers) -> Denied | None:
        if self.rules.token is None:
            error = "this shows vehicles, and the gateway has no token to protect it"
            fix = "set operations.token in the configuration, and reload it"
            return Denied(RequestRefusal.NO_TOKEN_SET, http.FORBIDDEN, error, fix)
        credentials = _only(headers, b"Authorization")
        fix = "send operations.token of the configuration in the header Authorization: Bearer <token>"
        if not credentials:
            return Denied(RequestRefusal.NO_TOKEN, http.UNAUTHORIZED, "this needs a token", fix)
        scheme, given = credentials[: len(_BEARER)].lower(), credentials[len(_BEARER) :].strip()
        if scheme != _BEARER or not hmac.compare_digest(given, self.rules.token):
            return Denied(RequestRefusal.WRONG_TOKEN, http.UNAUTHORIZED, "this is not the gateway's token", fix)
        return None


def _cross_origin(headers: Headers) -> Denied | None:
    """The denial of a request that a page of another origin has made; None for every other."""
    origin, site = _only(headers, b"Origin"), _only(headers, b"Sec-Fetch-Site").lower()
    is_followed_link = _only(headers, b"Sec-Fetch-Mode") == b"navigate" and _only(headers, b"Sec-Fetch-Dest") == b"document"
    foreign_origin = origin and _authority(origin) != _only(headers, b"Host").lower()
    if not foreign_origin and (site not in _FOREIGN_SITES or is_followed_link):
        return None
    error = "the request comes from a page of another origin"
    fix = "open the gateway's own page; a proxy before it must pass the header Host on as it is, with its port"
    return Denied(RequestRefusal.CROSS_ORIGIN, http.FORBIDDEN, error, fix)


def _only(headers: Headers, name: bytes) -> bytes:
    """The value of a header; empty without one, or where it is repeated."""
    values = headers.getRawHeaders(name) or ()
    return values[0].strip() if len(values) == 1 else b""


def _authority(origin: bytes) -> bytes:
    """``host:port`` of an origin, as it stands in Host; empty for ``null``."""
    return origin.partition(b"://")[2].lower()


def _name(host: bytes) -> str:
    """The name or address in a Host header, in lower case, without port; empty where there is none, or more than that."""
    found = _HOST.fullmatch(host)
    return (found[1] or found[2]).decode().lower().removesuffix(".") if found else ""


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine's own in every network."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
