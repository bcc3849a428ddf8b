"""The pages of what operators observe: they read the parameters, and answer with a view or a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.web import http

from fleetgw.adapters.codec.datum import FIELD_NAMES
from fleetgw.adapters.monitoring.pages import PageRefusal, json_answer
from fleetgw.adapters.monitoring.streams import EVENTS, JSON_LINES, Stream
from fleetgw.adapters.settings.spelling import did_you_mean, quoted
from fleetgw.app.operations.refusals import refusals_view
from fleetgw.app.operations.signal_counts import MAX_TOP
from fleetgw.app.operations.tap import MAX_FILTERED, MAX_TAPS, TapFilter
from fleetgw.app.operations.vehicles import MAX_VEHICLES

if TYPE_CHECKING:
    from fleetgw.adapters.monitoring.pages import Answer, PageRequest
    from fleetgw.app.operations.observation import Observation

_FIELDS = frozenset(FIELD_NAMES.values())


class ObservedPages:
    """One method a path; each is a ``Page``, and may raise ``PageRefusal``."""

    def __init__(self, observation: Observation) -> None:
        self._views = observation

    def overview(self, _: PageRequest) -> Answer:
        """``/api/overview``."""
        return json_answer(self._views.overview.view())

    def overview_stream(self, _: PageRequest) -> Stream:
        """``/api/overview/stream``."""
        return Stream(EVENTS, self._views.overview_stream.subscribe)

    def vehicles(self, request: PageRequest) -> Answer:
        """``/api/vehicles?search=&limit=``."""
        limit = request.whole("limit", 100, MAX_VEHICLES)
        return json_answer(self._views.vehicles.vehicles(request.query.get("search", ""), limit))

    def vehicle(self, request: PageRequest) -> Answer:
        """``/api/vehicles/{vin}``."""
        vin = request.values["vin"]
        view = self._views.vehicles.vehicle(vin)
        if view is None:
            raise _not_known(vin)
        return json_answer(view)

    def vehicle_stream(self, request: PageRequest) -> Stream:
        """``/api/vehicles/{vin}/stream``."""
        vin, vehicles = request.values["vin"], self._views.vehicles
        if not vehicles.is_known(vin):
            raise _not_known(vin)
        return Stream(EVENTS, lambda reader: vehicles.subscribe(vin, reader))

    def signals(self, request: PageRequest) -> Answer:
        """``/api/signals?top=20``."""
        return json_answer(self._views.signals.signals(request.whole("top", 20, MAX_TOP)))

    def refusals(self, _: PageRequest) -> Answer:
        """``/api/refusals``."""
        return json_answer(refusals_view(self._views.refusals))

    def tap(self, request: PageRequest) -> Stream:
        """``/api/tap?vin=&type=&field=``."""
        wanted = TapFilter(_names(request, "vin"), _names(request, "type"), _names(request, "field"))
        if any(len(names) > MAX_FILTERED for names in (wanted.vins, wanted.record_types, wanted.fields)):
            raise PageRefusal("the filter names too much", f"name at most {MAX_FILTERED} of each")
        for name in sorted(wanted.fields - _FIELDS):
            fix = did_you_mean(name, _FIELDS, "see the enum Field of protos/vehicle_data.proto")
            raise PageRefusal(f"there is no field {quoted([name[:100]])}", fix)
        taps = self._views.taps
        if not taps.have_room:
            raise PageRefusal(f"{MAX_TAPS} taps are open", "close one of them", http.SERVICE_UNAVAILABLE)
        return Stream(JSON_LINES, lambda reader: taps.open(wanted, reader))


def _not_known(vin: str) -> PageRefusal:
    error = f"the vehicle {quoted([vin[:100]])} has not been connected since the start"
    return PageRefusal(error, "see /api/vehicles, and /api/refusals for vehicles that are refused", http.NOT_FOUND)


def _names(request: PageRequest, name: str) -> frozenset[str]:
    """A parameter that is a list of names with commas."""
    return frozenset(each.strip() for each in request.query.get(name, "").split(",") if each.strip())
