"""Random payloads of ``V`` records."""

from __future__ import annotations

from random import Random

from google.protobuf.message import DecodeError

from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Datum, Payload
from fleetgw.adapters.codec.wire_scan import BYTES, VARINT
from fleetgw.simulator.payloads import DriveReporter
from tests.fuzz.mutations import mutate
from tests.fuzz.protobuf_styles import Writer
from tests.support.protobuf_wire import varint

_DATUMS = 300
_PAYLOADS = 40
_COUNTS = (0, 1, 1, 2, 3, 4, 8, 8, 16)
_LARGE_COUNTS = (300, 2047, 2048, 2049)
_START_NS = 1_764_000_000_000_000_000
_REPORT_EVERY_NS = 1_234_567_891


class Payloads:
    """Payloads of several kinds, composed of parts that are drawn once: composing is cheap.

    :param seed: of the parts.
    """

    KINDS = ("own", "protobuf", "composed", "styles", "mutated")

    def __init__(self, seed: int) -> None:
        random = Random(f"payloads {seed}")
        plain, odd = Writer(random, 0.0), Writer(random, 0.06)
        self._own = [
            reporter.payload("V", _START_NS + at * _REPORT_EVERY_NS)
            for reporter in (DriveReporter(f"5YJ3E1EA7KF0000{number:02d}", seed * 10 + number) for number in range(5))
            for at in range(_PAYLOADS // 5)
        ]
        self._plain = [plain.field(1, BYTES, plain.message(Datum.DESCRIPTOR)) for _ in range(_DATUMS)]
        self._odd = [odd.field(1, BYTES, odd.message(Datum.DESCRIPTOR)) for _ in range(_DATUMS)]
        self._styles = [odd.message(Payload.DESCRIPTOR) for _ in range(_PAYLOADS)]
        self._ends = [_end(plain, random) for _ in range(_PAYLOADS)]
        self._protobuf = [written for styled in self._styles if (written := _as_protobuf_writes(styled)) is not None]

    def draw(self, random: Random) -> tuple[str, bytes]:
        """A kind and a payload of it."""
        chance = random.random()
        if chance < 0.45:
            return "mutated", mutate(random, self._good(random), self._composed(random))
        if chance < 0.5:
            return "own", random.choice(self._own)
        if chance < 0.55 and self._protobuf:
            return "protobuf", random.choice(self._protobuf)
        if chance < 0.85:
            return "composed", self._composed(random)
        return "styles", self._in_styles(random)

    def _good(self, random: Random) -> bytes:
        return random.choice(self._own) if random.random() < 0.3 else self._composed(random)

    def _composed(self, random: Random) -> bytes:
        """Canonical data in any number, and a canonical end."""
        count = random.choice(_COUNTS if random.random() < 0.995 else _LARGE_COUNTS)
        return b"".join(random.choices(self._plain, k=count)) + random.choice(self._ends)

    def _in_styles(self, random: Random) -> bytes:
        if random.random() < 0.2:
            return random.choice(self._styles)
        parts = random.choices(self._plain, k=random.randint(0, 6))
        parts.insert(random.randint(0, len(parts)), random.choice(self._odd))
        end = random.choice(self._ends)
        return end + b"".join(parts) if random.random() < 0.2 else b"".join((*parts, end))


def _end(writer: Writer, random: Random) -> bytes:
    """``created_at``, ``vin`` and ``is_resend``, each of them there or not."""
    seconds, nanos = random.choice((0, 1, 1_764_000_000, -1)), random.choice((0, 5, 999_999_999, -1))
    time = (b"\x08" + varint(seconds) if seconds else b"") + (b"\x10" + varint(nanos) if nanos else b"")
    vin = random.choice((b"5YJ3E1EA7KF000001", b"X", b"v" * 200))
    parts = (writer.field(2, BYTES, time), writer.field(3, BYTES, vin), writer.field(4, VARINT, b"\x01"))
    return b"".join(part for part in parts if random.random() < 0.7)


def _as_protobuf_writes(payload: bytes) -> bytes | None:
    try:
        return Payload.FromString(payload).SerializeToString()
    except DecodeError:
        return None
