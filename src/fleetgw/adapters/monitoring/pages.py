"""Pages: functions that answer requests, and the routes that lead to them. A site serves them (``site.py``)."""

from __future__ import annotations

import json
import re
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import unquote

from attrs import field, frozen
from twisted.web import http

from fleetgw.domain.errors import FleetgwError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from twisted.internet.defer import Deferred

    from fleetgw.adapters.monitoring.streams import Stream

TEXT = b"text/plain; charset=utf-8"
JSON = b"application/json"

MAX_DIGITS = 9
"""Maximum number of digits of a number among a request's parameters."""

ANY_METHOD: tuple[str, ...] = ()
"""Methods of a route that answers every method and ignores bodies, as the Go server does."""


class PageRefusal(FleetgwError):
    """A page does not answer a request.

    :ivar error: the problem.
    :ivar fix: the remedy.
    :ivar code: of the response.
    """

    def __init__(self, error: str, fix: str, code: int = http.BAD_REQUEST) -> None:
        super().__init__(f"{error}; {fix}")
        self.error = error
        self.fix = fix
        self.code = code


@frozen
class PageRequest:
    """A request that a route has matched.

    :ivar values: text that the request has in place of the pattern's names.
    :ivar query: parameters by name; of repeated ones the first.
    :ivar body: at most ``MAX_BODY_BYTES`` of the site.
    """

    method: str
    path: str
    values: Mapping[str, str] = field(factory=dict)
    query: Mapping[str, str] = field(factory=dict)
    body: bytes = b""

    def whole(self, name: str, default: int, highest: int) -> int:
        """The whole number of a parameter, from 1 to ``highest``.

        :raises PageRefusal: it is none.
        """
        text = self.query.get(name, str(default))
        if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS and 0 < int(text) <= highest):
            raise PageRefusal(f"{name} is {text[:20]!r}", f"give a whole number from 1 to {highest}")
        return int(text)


@frozen
class Answer:
    """A response.

    :ivar headers: further ones, by name.
    """

    body: bytes
    code: int = http.OK
    content_type: bytes = TEXT
    headers: Mapping[bytes, bytes] = field(factory=dict)


def json_answer(value: object, code: int = http.OK) -> Answer:
    """A response whose body is a JSON value."""
    return Answer(json.dumps(value).encode(), code, JSON)


def json_error(error: str, fix: str, code: int) -> Answer:
    """A refusal by a path under ``/api``.

    :param error: the problem.
    :param fix: the remedy.
    """
    return json_answer({"error": error, "fix": fix}, code)


Page: TypeAlias = "Callable[[PageRequest], Answer | Deferred[Answer] | Stream]"
"""Called for each request of its route, on the reactor's thread; must not block. It, or the Deferred, may fail with
``PageRefusal``. The Deferred is cancelled when the client disconnects."""


class Access(Enum):
    """The clients that a route answers; ``AccessControl`` decides."""

    PROBE = "probe"
    """Every client, under every name: load balancers, scrapers."""

    OPERATOR = "operator"
    """Clients on this machine, or under one of ``operations.hosts``. Such a route shows no VIN and no value of a vehicle."""

    TOKEN = "token"  # noqa: S105  the name of a class of routes
    """As ``OPERATOR``, with the token in the header ``Authorization``."""


@frozen
class Route:
    """A path, or a family of paths, and its page.

    :ivar pattern: a path, such as ``/api/vehicles/{vin}``; a name in braces stands for one segment.
    :ivar methods: those that the page takes. GET includes HEAD.
    :ivar parameter: a query parameter that the request must have; empty for none.
    """

    pattern: str
    page: Page
    access: Access
    methods: tuple[str, ...] = ("GET",)
    parameter: str = ""
    _expression: re.Pattern[str] = field(init=False, eq=False, repr=False)

    @_expression.default
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(self.pattern)))

    def values(self, path: str) -> Mapping[str, str] | None:
        """The texts in place of the pattern's names, percent-decoded; None for another path."""
        found = self._expression.fullmatch(path)
        return None if found is None else {name: unquote(text) for name, text in found.groupdict().items()}

    def takes(self, method: str) -> bool:
        """Whether the page takes a method."""
        return not self.methods or method in self.methods or (method == "HEAD" and "GET" in self.methods)


@frozen
class Found:
    """The route of a request, with its values."""

    route: Route
    values: Mapping[str, str]


@frozen
class WrongMethod:
    """No route of the path takes the method.

    :ivar allowed: methods that one takes.
    """

    allowed: tuple[str, ...]


class RouteTable:
    """Finds the route of a request."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = (*routes,)

    def find(self, method: str, path: str, parameters: Collection[str] = ()) -> Found | WrongMethod | None:
        """The first route of a path that takes the method; None where no route has the path.

        :param parameters: names of the request's query parameters.
        """
        matching = [
            Found(each, values)
            for each in self._routes
            if (not each.parameter or each.parameter in parameters) and (values := each.values(path)) is not None
        ]
        for found in matching:
            if found.route.takes(method):
                return found
        allowed = {method for found in matching for method in found.route.methods}
        if "GET" in allowed:
            allowed.add("HEAD")
        return WrongMethod((*sorted(allowed),)) if matching else None
