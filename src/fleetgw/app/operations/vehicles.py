"""The vehicles as operators see them: presence, and details of one vehicle with its latest values."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from fleetgw.adapters.text.days import day_text
from fleetgw.app.operations.streams import SecondlyStream
from fleetgw.app.operations.ticking import INTERVAL_S

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted.internet.interfaces import IReactorTime

    from fleetgw.app.operations.values import WatchedValues
    from fleetgw.app.pipeline.context import SessionContext
    from fleetgw.app.pipeline.known import KnownVehicle
    from fleetgw.domain.ports import IStreamReader

MAX_VEHICLES = 1000
"""Largest number of vehicles in one answer."""


class VehicleViews:
    """Answers about vehicles. Call ``tick`` once a second."""

    def __init__(self, sessions: SessionContext, values: WatchedValues, clock: IReactorTime) -> None:
        self._clock = clock
        self._known = sessions.connected.known
        self._counts = sessions.signal_metrics.counts
        self._values = values
        self._streams: dict[str, SecondlyStream] = {}

    def vehicles(self, search: str, limit: int) -> Mapping[str, object]:
        """The known vehicles, connected ones first, of both the latest first.

        :param search: a part of the VIN, in any case; empty for all.
        :param limit: largest number of vehicles; at most ``MAX_VEHICLES``.
        """
        limit, known = min(limit, MAX_VEHICLES), self._known
        found = [*islice(known.latest_first(), limit)]
        total = len(known.connected) + len(known.left)
        if search:
            searched = search.upper()
            matching = [each for each in known.latest_first() if searched in each.vehicle.vin.upper()]
            found, total = matching[:limit], len(matching)
        return {"vehicles": [self._item(each) for each in found], "total": total}

    def is_known(self, vin: str) -> bool:
        """Whether the vehicle is connected, or has been and is not forgotten."""
        return self._known.get(vin) is not None

    def vehicle(self, vin: str) -> Mapping[str, object] | None:
        """One vehicle with its latest values, which are watched from now on; None when it is not known."""
        known = self._known.get(vin)
        if known is None:
            return None
        return {
            **self._item(known),
            "values": self._values.of(known),
            "signals_per_day": [{"day": day_text(day), "signals": signals} for day, signals in self._counts.of(vin)],
            "records_by_type": dict(known.records),
        }

    def subscribe(self, vin: str, reader: IStreamReader) -> Callable[[], None]:
        """Send a reader one vehicle once a second; see ``SecondlyStream.subscribe``."""
        stream = self._streams.get(vin)
        if stream is None:
            stream = self._streams[vin] = SecondlyStream(lambda: self.vehicle(vin) or {"vin": vin, "online": False})
        end = stream.subscribe(reader)

        def unsubscribe() -> None:
            end()
            if not stream.has_readers:
                self._streams.pop(vin, None)

        return unsubscribe

    def tick(self) -> None:
        """A second has passed. The vehicles' events are spread over the next one, as each may take some milliseconds."""
        for number, stream in enumerate(self._streams.values()):
            self._clock.callLater(number * INTERVAL_S / len(self._streams), stream.send)

    def _item(self, known: KnownVehicle) -> dict[str, object]:
        vehicle = known.vehicle
        return {
            "vin": vehicle.vin,
            "online": known.offline_since_ms is None,
            "connections": len(known.sessions),
            "online_since_ms": known.online_since_ms,
            "offline_since_ms": known.offline_since_ms,
            "client_version": vehicle.device_client_version or None,
            "network": vehicle.network_interface or None,
            "address": vehicle.address or None,
            "last_record_ms": known.last_record_ms,
            "records": sum(known.records.values()),
            "signals_today": self._counts.today.vehicles.get(vehicle.vin, 0),
        }
