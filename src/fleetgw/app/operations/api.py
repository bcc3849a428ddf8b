"""The paths of the status port: one line a path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen
from twisted.web import http

from fleetgw.adapters.monitoring.metrics_site import metrics_page
from fleetgw.adapters.monitoring.pages import ANY_METHOD, Access, Answer, Route, json_answer
from fleetgw.app.config.showing import effective_config

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fleetgw.app.config.sections import Config

_SERVING, _STOPPING = Answer(b"ok"), Answer(b"stopping", http.SERVICE_UNAVAILABLE)


@frozen
class GatewayViews:
    """The parts of a gateway as the paths show them.

    :ivar is_serving: whether the gateway does not stop.
    :ivar exposition: returns the metrics as text.
    :ivar config: returns the configuration in effect.
    """

    is_serving: Callable[[], bool]
    exposition: Callable[[], bytes]
    config: Callable[[], Config]


def operator_routes(views: GatewayViews) -> Sequence[Route]:
    """Every path of the status port."""
    return (
        Route("/status", lambda _: _SERVING if views.is_serving() else _STOPPING, Access.PROBE, ANY_METHOD),
        Route("/api/metrics", metrics_page(views.exposition), Access.OPERATOR),
        Route("/api/config", lambda _: json_answer(effective_config(views.config())), Access.TOKEN),
    )
