"""``rewrite_data``: C, its twin, and protobuf with the rewrites of signals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from fleetgw.adapters.codec.canonical import make_table, rewrite_data
from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Payload
from fleetgw.adapters.codec.transforms import rewrite_location, rewrite_scientific
from fleetgw.adapters.codec.unknown_values import signals_of_unknown_kind
from tests.fuzz.comparisons import Functions, Input, Mismatch, agreed, in_c
from tests.fuzz.payloads import Payloads

if TYPE_CHECKING:
    from random import Random

_MAX_ELEMENTS = 2048
_TABLE = make_table()
_VINS = ("5YJ3E1EA7KF000001", "", "v", "v" * 127, "v" * 128, "v" * 300, "v" * 20_000, "\u00e9")


class RewriteComparison:
    """``rewrite_data``: C, twin, and protobuf with both rewrites."""

    name = "rewrite_data"
    functions: Functions = [rewrite_data, *in_c("rewrite_data")]

    def __init__(self, seed: int) -> None:
        self._payloads = Payloads(seed)

    def draw(self, random: Random) -> tuple[str, Input]:
        """See ``Comparison``."""
        kind, payload = self._payloads.draw(random)
        max_elements = random.randint(0, 4) if random.random() < 0.02 else _MAX_ELEMENTS
        vin = random.choice(_VINS) if random.random() < 0.2 else _VINS[0]
        return kind, (payload, vin, max_elements)

    def arguments(self, given: Input) -> tuple[object, ...]:
        """See ``Comparison``."""
        payload, vin, max_elements = given
        return payload, vin, _TABLE, max_elements

    def check(self, given: Input) -> bool:
        """See ``Comparison``."""
        payload, vin, max_elements = given
        result = agreed(self.functions, self.arguments(given))
        if result is None:
            return False
        wanted = _by_protobuf(payload, vin)  # type: ignore[arg-type]  # bytes, text
        if (*result, ()) != wanted:
            raise Mismatch(f"{result[0].hex()}, {result[1]} signals; protobuf: {wanted}")
        if result[1] > max_elements:
            raise Mismatch(f"{result[1]} signals")
        return True


def _by_protobuf(payload: bytes, vin: str) -> tuple[bytes, int, tuple[str, ...]] | str:
    """Serialised payload, number of signals, names of signals of unknown kinds; or the error."""
    try:
        message = Payload.FromString(payload)
    except DecodeError as error:
        return str(error)
    message.vin = vin
    unknown = signals_of_unknown_kind(message)
    rewrite_location(message)
    rewrite_scientific(message)
    return message.SerializeToString(), len(message.data), unknown
