"""The pages of traces under ``/api/traces``; each may raise ``TraceRefused``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from twisted.web import http

from fleetgw.adapters.monitoring.pages import Answer, json_answer
from fleetgw.adapters.monitoring.streams import JSON_LINES, Stream
from fleetgw.app.operations.traces import TraceRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted.internet.defer import Deferred

    from fleetgw.adapters.monitoring.pages import Page, PageRequest
    from fleetgw.app.operations.traces import Traces


def listed(traces: Traces) -> Page:
    """All traces."""
    return lambda _: json_answer(traces.listed())


def begun(traces: Traces) -> Page:
    """Begin a trace (201), or join one (200)."""

    def begin(request: PageRequest) -> Answer:
        trace, is_new = traces.begin(_members(request.body))
        return json_answer(trace, http.CREATED if is_new else http.OK)

    return begin


def read(traces: Traces) -> Page:
    """The lines of a trace from number ``from`` on: about a MiB of them; an empty body when there are none."""

    def lines(request: PageRequest) -> Deferred[Answer]:
        reading = traces.read(request.values["id"], request.query.get("from", "1"))
        return reading.addCallback(lambda content: Answer(content, content_type=JSON_LINES))

    return lines


def changed(traces: Traces) -> Page:
    """Have a trace end later or earlier."""
    return lambda request: json_answer(traces.change(request.values["id"], _members(request.body)))


def removed(traces: Traces) -> Page:
    """Remove a trace."""

    def remove(request: PageRequest) -> Answer:
        traces.remove(request.values["id"])
        return json_answer({})

    return remove


def followed(traces: Traces) -> Page:
    """The lines of a trace, as they are written from now on, until its end."""

    def follow(request: PageRequest) -> Stream:
        lines = traces.lines(request.values["id"])
        return Stream(JSON_LINES, lambda reader: traces.read_on(lines, reader))

    return follow


def _members(body: bytes) -> Mapping[str, object]:
    """The members of a JSON object.

    :raises TraceRefused: the body is none.
    """
    try:
        members = json.loads(body)
    except (ValueError, RecursionError):
        members = None
    if not isinstance(members, dict):
        raise TraceRefused("the body is no JSON object", 'send one such as {"vin": "5YJ3E1EA7KF000001", "for_s": 3600}')
    return members
