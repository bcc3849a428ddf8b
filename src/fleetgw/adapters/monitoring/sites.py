"""The status port and the metrics port."""

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.web.server import Site

from fleetgw.adapters.listening.refusals import Refusals
from fleetgw.adapters.monitoring.pages import Page, PageSite

_EXPOSITION = b"text/plain; version=0.0.4; charset=utf-8"


def make_status_site(is_serving: Callable[[], bool], reactor: IReactorTime, refusals: Refusals) -> Site:
    """``GET /status`` answers 200 ``ok``, and 503 ``stopping`` once ``is_serving`` says no."""
    page = Page(lambda: b"ok" if is_serving() else b"stopping", is_available=is_serving)
    return PageSite({b"/status": page}, reactor, refusals)


def make_metrics_site(exposition: Callable[[], bytes], reactor: IReactorTime, refusals: Refusals) -> Site:
    """``GET /metrics`` answers what ``exposition`` gives: Prometheus' text format 0.0.4 (``PrometheusMetrics.exposition``).

    Gauges that are known only when somebody looks are set in a function around it.
    """
    return PageSite({b"/metrics": Page(exposition, _EXPOSITION)}, reactor, refusals)
