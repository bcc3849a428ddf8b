"""The load: WebSocket frames of simulated drives, and the expected answer to each."""

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from websockets.frames import apply_mask

from fleetgw.adapters.codec.envelope import write_stream
from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Payload
from fleetgw.adapters.ingress.replies import ReplyFrames
from fleetgw.simulator.payloads import DriveReporter

FRAMES = 256
SIGNALS = 8
VIN = "5YJ3E1EA7PF000000"
_START_NS = 1_790_000_000_000_000_000
_STEP_NS = 1_000_000_000


def write_frames(file: Path) -> int:
    """Write the frames and the acknowledgement as JSON; returns the bytes of one record's envelope."""
    envelopes = [_envelope(payload) for _, payload in zip(range(FRAMES), _payloads(), strict=False)]
    acknowledgement = ReplyFrames().ack("V", _txid())
    content = {"frames": [_frame(envelope).hex() for envelope in envelopes], "ack": acknowledgement.hex()}
    file.write_text(json.dumps(content))
    return sum(map(len, envelopes)) // len(envelopes)


def read_frames(file: Path) -> tuple[list[bytes], bytes]:
    """The frames, and one acknowledgement; all acknowledgements are of one length."""
    content = json.loads(file.read_text())
    return list(map(bytes.fromhex, content["frames"])), bytes.fromhex(content["ack"])


def _payloads() -> Iterator[bytes]:
    reporters = [DriveReporter(VIN, seed) for seed in range(16)]
    at_ns = _START_NS
    while True:
        at_ns += _STEP_NS
        for reporter in reporters:
            payload = reporter.payload("V", at_ns)
            if len(Payload.FromString(payload).data) == SIGNALS:
                yield payload


def _txid() -> bytes:
    return str(uuid.uuid4()).encode()


def _envelope(payload: bytes) -> bytes:
    return write_stream(
        txid=_txid(),
        topic=b"V",
        sender_id=f"vehicle_device.{VIN}".encode(),
        payload=payload,
        created_at_s=_START_NS // _STEP_NS,
        device_type=b"vehicle_device",
        device_id=VIN.encode(),
    )


def _frame(content: bytes) -> bytes:
    assert 126 <= len(content) < 65536  # so the length takes two bytes
    mask = os.urandom(4)
    return b"\x82\xfe" + len(content).to_bytes(2, "big") + mask + apply_mask(content, mask)
