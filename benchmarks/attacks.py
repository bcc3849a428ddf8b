"""The attacks of a hostile vehicle with a valid certificate: WebSocket frames, made before the measurement."""

from collections.abc import Callable, Iterator
from itertools import count

from attrs import frozen

from fleetgw.adapters.codec.envelope import write_stream
from fleetgw.adapters.codec.generated.vehicle_alert_pb2 import VehicleAlerts
from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Payload
from fleetgw.adapters.codec.generated.vehicle_error_pb2 import VehicleErrors

LARGE_BYTES = 990_000
BLOB_BYTES = 65_536
SMALL_BLOBS, LARGE_BLOBS = 32, 4
NO_MASK = bytes(4)
CREATED_AT_S = 1_790_000_000


@frozen
class Attack:
    """Messages that take as much of the gateway's time as possible for each byte.

    :ivar about: in words.
    :ivar frames: frames without end, each with a txid of its own where it has one.
    """

    about: str
    frames: Callable[[], Iterator[bytes]]

    def blobs(self) -> list[bytes]:
        """Blobs of whole frames, sent repeatedly."""
        frames, blobs = self.frames(), []
        while True:
            blob = bytearray(next(frames))
            is_large = len(blob) >= BLOB_BYTES
            while len(blob) < BLOB_BYTES:
                blob += next(frames)
            blobs.append(bytes(blob))
            if len(blobs) == (LARGE_BLOBS if is_large else SMALL_BLOBS):
                return blobs


def frame(content: bytes) -> bytes:
    size = len(content)
    if size < 126:
        return bytes((0x82, 0x80 | size)) + NO_MASK + content
    if size < 65_536:
        return b"\x82\xfe" + size.to_bytes(2, "big") + NO_MASK + content
    return b"\x82\xff" + size.to_bytes(8, "big") + NO_MASK + content


def _records(record_type: bytes, payload: bytes) -> Callable[[], Iterator[bytes]]:
    def frames() -> Iterator[bytes]:
        for number in count():
            yield _framed(record_type, payload, b"hostile-%028d" % number)

    return frames


def _framed(record_type: bytes, payload: bytes, txid: bytes) -> bytes:
    message = write_stream(
        txid=txid,
        topic=record_type,
        sender_id=b"vehicle_device.hostile",
        payload=payload,
        created_at_s=CREATED_AT_S,
        device_type=b"",
        device_id=b"",
    )
    return frame(message)


def _member(number: int, content: bytes) -> bytes:
    """A protobuf field of wire type 2."""
    size, length = len(content), bytearray()
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    return bytes((number << 3 | 2, *length, size)) + content


def _errors(*errors: bytes) -> bytes:
    return b"".join(_member(1, error) for error in errors)


def _distinct_tags(number: int) -> bytes:
    return b"".join(_member(3, _member(1, b"%06x" % each)) for each in range(number))


def _signals(number: int) -> bytes:
    return Payload(
        data=[{"key": 4 + each % 200, "value": {"int_value": each}} for each in range(number)]
    ).SerializeToString()  # type: ignore[list-item]  # as protobuf takes it


def _one_error(body: str) -> bytes:
    return VehicleErrors(errors=[{"name": "x", "body": body}]).SerializeToString()  # type: ignore[list-item]  # as protobuf takes it


def _named(*names: str) -> bytes:
    return VehicleAlerts(alerts=[{"name": name} for name in names]).SerializeToString()  # type: ignore[list-item]  # as protobuf takes it


ATTACKS = {
    "tags": Attack("one error with 490,000 empty tags", _records(b"errors", _errors(_member(3, b"") * 490_000))),
    "distinct-tags": Attack(
        "one error with 95,000 tags of different names", _records(b"errors", _errors(_distinct_tags(95_000)))
    ),
    "errors": Attack("20,000 errors with 20 tags each", _records(b"errors", _errors(*[_member(3, b"") * 20] * 20_000))),
    "body": Attack("one error with a text of 900 kB", _records(b"errors", _one_error("x" * 900_000))),
    "audiences": Attack(
        "one alert with 980,000 audiences", _records(b"alerts", _member(1, _member(1, b"x") + _member(2, b"\x01" * 980_000)))
    ),
    "names": Attack(
        "alerts of 100 names with 300 levels each", _records(b"alerts", _named(*["a/" * 300 + str(n) for n in range(100)]))
    ),
    "signals": Attack("records with 20,000 signals", _records(b"V", _signals(20_000))),
    "few-signals": Attack("records with 2,000 signals, as many as are taken", _records(b"V", _signals(2_000))),
    "few-tags": Attack("errors with 2,000 tags of different names", _records(b"errors", _errors(_distinct_tags(2_000)))),
    "few-errors": Attack(
        "records of 1,000 errors with a tag each", _records(b"errors", _errors(*[_member(3, b"")] * 1_000))
    ),
    "few-audiences": Attack(
        "records of 500 alerts with 3 audiences each",
        _records(b"alerts", b"".join(_member(1, _member(1, b"%d" % each) + _member(2, b"\1\2\3")) for each in range(500))),
    ),
    "dense": Attack("records with one signal, as many as fit", _records(b"V", _signals(1))),
    "txids": Attack(
        "txids of 900 kB before a payload that cannot be read",
        lambda: (_framed(b"V", b"\xff", b"%09d" % number * 100_000) for number in count()),
    ),
    "frames": Attack("frames of 6 bytes", lambda: (frame(b"") for _ in count())),
}
"""By name; together with one connection and with many they are the phases of ``adversary.py``."""
