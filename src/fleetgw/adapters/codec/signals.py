"""The signals of ``V`` records, for sinks that write them one by one.

Protobuf's objects cost about a microsecond for each signal. But vehicles send the same fields over and over, and two such
records differ only in bytes at the same places. So records are read by layouts: where the values are, and what all the other
bytes have to be.
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
"""So many layouts are kept for records of one length, for so many lengths, up to such a length."""

LEARN_EVERY = 16
"""Learning a layout costs as much as reading some records: of those that fit none only some are learnt from."""

KEPT_VALUES = 4096
KEPT_VALUE_SIZE_BYTES = 64
"""So many values other than numbers are kept, none of them longer."""

_FLOAT = "f"
_DOUBLE = "d"
_LOCATION = "d1sd"  # the second number's tag is between them


@frozen
class _Layout(Generic[Label, Form]):
    """What records of one length have in common.

    :ivar unpack: takes a payload apart: what is known, a value, what is known, ..., what is known.
    :ivar known: that.
    :ivar signals: every label, in order.
    :ivar doubles: label, and where in what is unpacked the value is; of a location the first number.
    :ivar others: likewise, and what reads it.
    """

    unpack: Callable[[bytes], tuple[Any, ...]]  # Any: bytes and numbers, as ``known`` and the four lists say
    known: tuple[bytes, ...]
    signals: dict[Label, Form]
    floats: list[tuple[Label, int]]
    doubles: list[tuple[Label, int]]
    locations: list[tuple[Label, int]]
    others: list[tuple[Label, int, Callable[[bytes], Form]]]


class SignalReader(Generic[Label, Form]):
    """Reads signals into what a sink writes.

    Forms may be handed out again, and are not to be changed.

    :param label: what stands for a field, from ``Datum.key``.
    :param form: what is made of a datum's value, whatever there is; its key is not to be looked at.
    :param number_form: the same of a float or a double: as few digits as tell it from its neighbours, infinite, or NaN.
    :param location_form: likewise of a location, from latitude and longitude.
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
        """The signals in their order; of one that is there more than once the last.

        :param content: a record's.
        :param payload: the record's. Either ``content`` serialised, or something that no payload begins with.
        """
        for layout in self._layouts.get(len(payload), ()):
            parts = layout.unpack(payload)
            if parts[::2] == layout.known:
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
        """Of a datum without its key, serialised."""
        return self._form(Datum.FromString(value))

    def _learn(self, content: Payload, payload: bytes) -> None:
        signals: dict[Label, Form] = {}
        places: dict[str, list[tuple[Label, int]]] = {_FLOAT: [], _DOUBLE: [], _LOCATION: []}
        others: list[tuple[Label, int, Callable[[bytes], Form]]] = []
        shape, serialised, known_from, values = "<", b"", 0, 0
        for datum in content.data:
            label = self._label(datum.key)
            signals[label] = self._form(datum)
            serialised += Payload(data=[datum]).SerializeToString()
            kind, at = _number_at_the_end(datum), 2 * values + 1
            if kind is not None:
                size = calcsize("<" + kind)
                places[kind].append((label, at))
                values += 2 if kind == _LOCATION else 1
            elif datum.key:  # which is not written when it is 0: another's could stand in the value's place
                size = len(datum.SerializeToString()) - len(Datum(key=datum.key).SerializeToString())
                others.append((label, at, self._kept_form if size <= KEPT_VALUE_SIZE_BYTES else self._form_of))
                kind = f"{size}s"
                values += 1
            else:
                continue
            shape += f"{len(serialised) - size - known_from}s{kind}"
            known_from = len(serialised)
        if not signals or len(signals) < len(content.data) or not payload.startswith(serialised):
            return
        # the byte that follows says that no more data do; where there is none, the length says so
        struct = Struct(f"{shape}{len(payload[: len(serialised) + 1]) - known_from}s")
        known = struct.unpack_from(payload)[::2]
        layout = _Layout(struct.unpack_from, known, signals, places[_FLOAT], places[_DOUBLE], places[_LOCATION], others)
        if len(self._layouts) == LENGTHS and len(payload) not in self._layouts:
            del self._layouts[next(iter(self._layouts))]
        self._layouts[len(payload)] = [layout, *self._layouts.get(len(payload), ())][:LAYOUTS_OF_A_LENGTH]


def _number_at_the_end(datum: Datum) -> str | None:
    """How a datum ends that has a key, a float, a double or a location, and nothing else."""
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
                return None  # what is zero is not written
        case _:
            return None
    return kind if same.SerializeToString() == datum.SerializeToString() else None
