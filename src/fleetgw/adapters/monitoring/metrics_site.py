"""The metrics port, and the page of metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.adapters.monitoring.pages import ANY_METHOD, Access, Answer, Route
from fleetgw.adapters.monitoring.site import PageSite

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime
    from twisted.web.server import Site

    from fleetgw.adapters.listening.refusals import Refusals
    from fleetgw.adapters.monitoring.client_faults import ClientFaults
    from fleetgw.adapters.monitoring.pages import Page

_EXPOSITION = b"text/plain; version=0.0.4; charset=utf-8"


def metrics_page(exposition: Callable[[], bytes]) -> Page:
    """Answers with the text that ``exposition`` (``PrometheusExporter.exposition``) returns."""
    return lambda _: Answer(exposition(), content_type=_EXPOSITION)


def make_metrics_site(
    exposition: Callable[[], bytes], reactor: IReactorTime, refusals: Refusals, faults: ClientFaults
) -> Site:
    """``GET /metrics`` answers as ``metrics_page`` does."""
    return PageSite([Route("/metrics", metrics_page(exposition), Access.PROBE, ANY_METHOD)], reactor, refusals, faults)
