"""Every truncation and every flipped byte of the golden vectors: C, twin and independent reading agree."""

import json
from collections.abc import Iterator
from pathlib import Path
from unittest import TestCase

from fleetgw.domain.records import Envelope
from tests.fuzz.comparisons import agreed
from tests.fuzz.rewrite_data import RewriteComparison
from tests.fuzz.split import SplitComparison
from tests.support.speedups import speedups

VECTORS = Path(__file__).parents[1] / "vectors"
NO_BOUND = 1 << 40
VIN = "5YJ3E1EA7KF000001"
FLIPS = (0x01, 0x80, 0xFF)


def damaged(whole: bytes) -> Iterator[bytes]:
    for size in range(len(whole)):
        yield whole[:size]
    for at, byte in enumerate(whole):
        for flip in FLIPS:
            yield b"".join((whole[:at], bytes((byte ^ flip,)), whole[at + 1 :]))


def cases(file: str, member: str, **wanted: str) -> set[bytes]:
    listed = json.loads((VECTORS / file).read_text())["cases"]
    return {bytes.fromhex(case[member]) for case in listed if member in case and wanted.items() <= case.items()}


class DamagedVectorsTests(TestCase):
    def setUp(self) -> None:
        speedups()

    def test_envelopes(self) -> None:
        messages = cases("envelopes.json", "in")
        self.assertGreater(len(messages), 500)
        split = SplitComparison(0)
        taken = 0
        for message in messages:
            size = len(message)
            # masked with zeros: a flipped byte of the frame is one of the message
            frame = b"\x82" + (bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2)) + bytes(4) + message
            taken += split.check((frame, 0, NO_BOUND, NO_BOUND))
            for data in damaged(frame):
                agreed(split.functions, (data, 0, NO_BOUND, NO_BOUND, Envelope))
        self.assertGreater(taken, 40)

    def test_payloads(self) -> None:
        payloads = cases("records.json", "payload", type="V")
        self.assertGreater(len(payloads), 300)
        rewrite = RewriteComparison(0)
        taken = 0
        for payload in payloads:
            taken += rewrite.check((payload, VIN, 2048))
            for data in damaged(payload):
                rewrite.check((data, VIN, 2048))
        self.assertGreater(taken, 100)
