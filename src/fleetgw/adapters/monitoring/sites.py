"""The status port and the metrics port."""

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.web import http
from twisted.web.server import Site

from fleetgw.adapters.listening.refusals import Refusals
from fleetgw.adapters.monitoring.pages import Answer, PageSite

_EXPOSITION = b"text/plain; version=0.0.4; charset=utf-8"
_SERVING, _STOPPING = Answer(b"ok"), Answer(b"stopping", http.SERVICE_UNAVAILABLE)


def make_status_site(is_serving: Callable[[], bool], reactor: IReactorTime, refusals: Refusals) -> Site:
    """``GET /status`` answers 200 ``ok``, and 503 ``stopping`` once ``is_serving`` returns False."""
    return PageSite({b"/status": lambda _: _SERVING if is_serving() else _STOPPING}, reactor, refusals)


def make_metrics_site(exposition: Callable[[], bytes], reactor: IReactorTime, refusals: Refusals) -> Site:
    """``GET /metrics`` answers with the text that ``exposition`` (``PrometheusExporter.exposition``) returns."""
    return PageSite({b"/metrics": lambda _: Answer(exposition(), content_type=_EXPOSITION)}, reactor, refusals)
