"""The latest values of vehicles that somebody watches: their records are decoded only as long as that lasts."""

from __future__ import annotations

from collections import deque
from math import isfinite
from typing import TYPE_CHECKING

from attrs import define, field
from google.protobuf.json_format import Parse, ParseError
from google.protobuf.message import DecodeError

from fleetgw.adapters.codec.datum import FIELD_NAMES, read_value
from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Payload
from fleetgw.adapters.codec.timestamps import epoch_s
from fleetgw.domain.line_limit import cut

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetgw.adapters.codec.datum import JsonValue
    from fleetgw.app.pipeline.context import SessionContext
    from fleetgw.app.pipeline.known import KnownVehicle
    from fleetgw.domain.records import Record, Vehicle

MAX_WATCHED = 16
"""Largest number of vehicles that are watched at a time."""

WATCHED_S = 180.0
"""A vehicle is watched for so long after somebody has last asked for its values."""

ASKED_LATELY_S = 5.0
"""A vehicle that somebody has asked for within this time is not given up for another one."""

MAX_RECORDS_A_SECOND = 200
"""Largest number of records of watched vehicles that are decoded in a second; the others are passed over."""

MAX_ELEMENTS = 1000
"""A record with more signals is not decoded: no vehicle sends as many fields."""

MAX_NAMES, MAX_POINTS, MAX_CHARACTERS = 1000, 60, 256
"""Bounds of what is kept of a vehicle: names of signals, numbers of the history of each, characters of a text."""


@define
class _Latest:
    value: JsonValue
    at_ms: int
    history: deque[tuple[int, float]] = field(factory=lambda: deque(maxlen=MAX_POINTS), init=False)


@define(eq=False)
class _Watched:
    asked_s: float
    values: dict[str, _Latest] = field(factory=dict, init=False)

    def take(self, payload: Payload, received_at_ms: int) -> None:
        """Take the values of a record over those of earlier ones: a vehicle may send an older record again.

        A vehicle whose clock is ahead counts by the time of the receipt, or its next values would be taken for older ones.
        """
        at_ms = received_at_ms
        if payload.HasField("created_at"):
            at_ms = min(at_ms, epoch_s(payload.created_at) * 1000)
        for datum in payload.data:
            name = FIELD_NAMES.get(datum.key) or str(datum.key)
            value = read_value(datum.value)
            if isinstance(value, str):
                value = cut(value, MAX_CHARACTERS)
            latest = self.values.get(name)
            if latest is None:
                if len(self.values) >= MAX_NAMES:
                    continue
                latest = self.values[name] = _Latest(value, at_ms)
            elif at_ms < latest.at_ms:
                continue
            latest.value, latest.at_ms = value, at_ms
            number = _number(value)
            if number is not None:
                latest.history.append((at_ms, number))


class WatchedValues:
    """Keeps the latest values of watched vehicles.

    Call ``tick`` once a second.
    """

    def __init__(self, sessions: SessionContext) -> None:
        self._sessions = sessions
        self._watched: dict[str, _Watched] = {}
        self._records_left = MAX_RECORDS_A_SECOND

    def of(self, known: KnownVehicle) -> list[dict[str, object]]:
        """The latest values of a vehicle, by name; watches it from now on.

        The first ones are those of its last record. When too many vehicles are watched, there are no others.
        """
        now_s = self._sessions.monotonic()
        watched = self._watched.get(known.vehicle.vin) or self._watch(known, now_s)
        watched.asked_s = now_s
        return [
            {"name": name, "value": each.value, "at_ms": each.at_ms, "history": [*each.history]}
            for name, each in sorted(watched.values.items())
        ]

    def _watch(self, known: KnownVehicle, now_s: float) -> _Watched:
        made = _Watched(now_s)
        payload = _parse(known.last_data or b"")
        if payload is not None and len(payload.data) <= MAX_ELEMENTS:
            made.take(payload, known.last_record_ms or 0)
        if len(self._watched) >= MAX_WATCHED:
            vin, longest_unasked = min(self._watched.items(), key=lambda item: item[1].asked_s)
            if now_s - longest_unasked.asked_s < ASKED_LATELY_S:
                return made
            del self._watched[vin]
        if not self._watched:
            self._sessions.add_observer(self._observe)
        self._watched[known.vehicle.vin] = made
        return made

    def tick(self) -> None:
        """A second has passed: forget the vehicles that nobody has asked for lately."""
        self._records_left = MAX_RECORDS_A_SECOND
        too_old_s = self._sessions.monotonic() - WATCHED_S
        if any(each.asked_s < too_old_s for each in self._watched.values()):
            self._watched = {vin: each for vin, each in self._watched.items() if each.asked_s >= too_old_s}
            if not self._watched:
                self._sessions.remove_observer(self._observe)

    def _observe(self, vehicle: Vehicle, records: Sequence[Record]) -> None:
        watched = self._watched.get(vehicle.vin)
        if watched is None:
            return
        for record in records[-self._records_left :] if self._records_left else ():
            if record.elements <= MAX_ELEMENTS and isinstance(record.content, Payload):
                self._records_left -= 1
                watched.take(record.content, record.received_at_ms)


def _number(value: JsonValue) -> float | None:
    """The number of a value, also of one that is text: older vehicles send numbers so."""
    if isinstance(value, bool | dict) or value is None:
        return None
    if isinstance(value, str) and ("_" in value or not value.isascii()):  # numbers of Python's, and of no vehicle
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if isfinite(number) else None


def _parse(data: bytes) -> Payload | None:
    """Parse a payload as sinks get it: protobuf, or JSON (``transmit_decoded_records``)."""
    try:
        return Parse(data, Payload()) if data.startswith(b"{") else Payload.FromString(data)
    except (DecodeError, ParseError):
        return None
