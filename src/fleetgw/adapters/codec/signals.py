"""Signals of ``V`` records, for sinks that write them individually.

Protobuf's objects cost about a microsecond per signal. But vehicles send the same fields repeatedly, and two such records
differ only in bytes at the same positions. Therefore records are read by layouts: the positions of the values, and the
expected content of all other bytes.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct, calcsize
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from attrs import frozen

from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Datum, Payload
from fleetgw.adapters.text.json_numbers import shortest_float32

if TYPE_CHECKING:
    from collections.abc import Callable

Label = TypeVar("Label")
Form = TypeVar("Form")

LAYOUTS_OF_A_LENGTH = 4
LENGTHS = 512
LENGTH_LIMIT_BYTES = 4096
"""Bounds of the layout cache: layouts per length of a record, number of lengths, and maximum length."""

LEARN_EVERY = 16
"""Learning a layout costs as much as reading several records: only one in so many records without a layout is learnt."""

KEPT_VALUES = 4096
KEPT_VALUE_SIZE_BYTES = 64
"""Bounds of the cache of forms of other values than numbers: their number and size."""

_FLOAT = "f"
_DOUBLE = "d"
_LOCATION = "d1sd"  # the second number's tag is between them


@frozen
class _Layout(Generic[Label, Form]):
    """Common structure of records of one length.

    :ivar unpack: splits a payload: fixed bytes, a value, fixed bytes, ..., fixed bytes.
    :ivar fixed: the expected fixed bytes.
    :ivar signals: forms by label, in the record's order; the values are replaced.
    :ivar doubles: label and index of the value in the unpacked parts; the lists of floats and locations are alike, with the
        index of a location's first number.
    :ivar others: the same, with the reader of the value.
    """

    unpack: Callable[[bytes], tuple[Any, ...]]  # Any: bytes and numbers, as in ``fixed`` and the four lists
    fixed: tuple[bytes, ...]
    signals: dict[Label, Form]
    floats: list[tuple[Label, int]]
    doubles: list[tuple[Label, int]]
    locations: list[tuple[Label, int]]
    others: list[tuple[Label, int, Callable[[bytes], Form]]]


class SignalReader(Generic[Label, Form]):
    """Reads signals into the forms that a sink writes.

    Forms are cached, and callers must not change them.

    :param label: makes a field's label from ``Datum.key``.
    :param form: makes the form of any datum's value; it must not depend on the key.
    :param number_form: makes the form of a float or a double, with the fewest digits that identify it; infinite or NaN too.
    :param location_form: makes the form of a location from latitude and longitude.
    """

    def __init__(
        self,
        label: Callable[[int], Label],
        form: Callable[[Datum], Form],
        number_form: Callable[[float], Form],
        location_form: Callable[[float, float], Form],
    ) -> None:
        self._label = label
        self._form = form
        self._number_form = number_form
        self._location_form = location_form
        self._kept_form = lru_cache(KEPT_VALUES)(self._form_of)
        self._layouts: dict[int, list[_Layout[Label, Form]]] = {}
        self._unknown = 0

    def read(self, content: Payload, payload: bytes) -> dict[Label, Form]:
        """Signals in their order; of a repeated signal the last value.

        :param content: of a record.
        :param payload: of the same record: either ``content`` serialised, or bytes that no payload starts with.
        """
        for layout in self._layouts.get(len(payload), ()):
            parts = layout.unpack(payload)
            if parts[::2] == layout.fixed:
                return self._fill(layout, parts)
        self._unknown += 1
        if self._unknown % LEARN_EVERY == 0 and len(payload) <= LENGTH_LIMIT_BYTES:
            self._learn(content, payload)
        label, form = self._label, self._form
        return {label(datum.key): form(datum) for datum in content.data}

    def _fill(self, layout: _Layout[Label, Form], parts: tuple[Any, ...]) -> dict[Label, Form]:  # Any: see ``_Layout``
        form = self._number_form
        signals = layout.signals.copy()
        for label, at in layout.doubles:
            signals[label] = form(parts[at])
        for label, at in layout.floats:
            signals[label] = form(shortest_float32(parts[at]))
        for label, at in layout.locations:
            signals[label] = self._location_form(parts[at], parts[at + 2])
        for label, at, read in layout.others:
            signals[label] = read(parts[at])
        return signals

    def _form_of(self, value: bytes) -> Form:
        """Form of a serialised datum without its key."""
        return self._form(Datum.FromString(value))

    def _learn(self, content: Payload, payload: bytes) -> None:
        signals: dict[Label, Form] = {}
        places: dict[str, list[tuple[Label, int]]] = {_FLOAT: [], _DOUBLE: [], _LOCATION: []}
        others: list[tuple[Label, int, Callable[[bytes], Form]]] = []
        shape, serialised, fixed_from, values = "<", b"", 0, 0
        for datum in content.data:
            label = self._label(datum.key)
            signals[label] = self._form(datum)
            serialised += Payload(data=[datum]).SerializeToString()
            kind, at = _number_at_the_end(datum), 2 * values + 1
            if kind is not None:
                size = calcsize("<" + kind)
                places[kind].append((label, at))
                values += 2 if kind == _LOCATION else 1
            elif datum.key:  # key 0 is not written: another datum could have the value's position
                size = len(datum.SerializeToString()) - len(Datum(key=datum.key).SerializeToString())
                others.append((label, at, self._kept_form if size <= KEPT_VALUE_SIZE_BYTES else self._form_of))
                kind = f"{size}s"
                values += 1
            else:
                continue
            shape += f"{len(serialised) - size - fixed_from}s{kind}"
            fixed_from = len(serialised)
        if not signals or len(signals) < len(content.data) or not payload.startswith(serialised):
            return
        # the next byte shows that no more data follow; without one, the length does
        struct = Struct(f"{shape}{len(payload[: len(serialised) + 1]) - fixed_from}s")
        fixed = struct.unpack_from(payload)[::2]
        layout = _Layout(struct.unpack_from, fixed, signals, places[_FLOAT], places[_DOUBLE], places[_LOCATION], others)
        if len(self._layouts) == LENGTHS and len(payload) not in self._layouts:
            del self._layouts[next(iter(self._layouts))]
        self._layouts[len(payload)] = [layout, *self._layouts.get(len(payload), ())][:LAYOUTS_OF_A_LENGTH]


def _number_at_the_end(datum: Datum) -> str | None:
    """Format of the end of a datum that has only a key and a float, a double or a location; None for any other."""
    value, same = datum.value, Datum(key=datum.key)
    match value.WhichOneof("value"):
        case "float_value":
            kind = _FLOAT
            same.value.float_value = value.float_value
        case "double_value":
            kind = _DOUBLE
            same.value.double_value = value.double_value
        case "location_value":
            kind = _LOCATION
            location = value.location_value
            same.value.location_value.latitude, same.value.location_value.longitude = location.latitude, location.longitude
            if not (location.latitude and location.longitude):
                return None  # zero is not written
        case _:
            return None
    return kind if same.SerializeToString() == datum.SerializeToString() else None
