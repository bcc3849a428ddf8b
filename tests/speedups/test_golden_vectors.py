"""The golden vectors once more: by the functions in C, by their twins, and by protobuf alone, in one run."""

from typing import Any
from unittest.mock import patch

from fleetgw.adapters.codec import RecordCodec, canonical, payload
from fleetgw.adapters.codec import envelope as wire
from fleetgw.adapters.ingress.fast_frames import split_frames
from fleetgw.domain.records import Envelope
from tests.codec import test_golden_vectors as golden
from tests.support.speedups import speedups

NO_BOUND = 1 << 40
TABLE = canonical.make_table()


class EnvelopesByTwinTests(golden.EnvelopeVectorTests):
    """Each message comes in a frame."""

    def setUp(self) -> None:
        super().setUp()
        patched = patch.object(RecordCodec, "read_envelope", staticmethod(self.read))
        patched.start()
        self.addCleanup(patched.stop)

    split: Any = staticmethod(split_frames)

    def read(self, message: bytes) -> Envelope:
        size = len(message)
        if size > 0xFFFF:
            return wire.read(message)
        length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2)
        ((read,), _) = self.split(b"\x82" + length + bytes(4) + message, 0, NO_BOUND, NO_BOUND, Envelope)
        return wire.read(read) if type(read) is bytes else read


class EnvelopesInCTests(EnvelopesByTwinTests):
    def setUp(self) -> None:
        self.split = speedups().split
        super().setUp()


class RecordsByProtobufTests(golden.RecordVectorTests):
    def setUp(self) -> None:
        patched = patch.dict(payload.DECODERS, V=self.decode)
        patched.start()
        self.addCleanup(patched.stop)

    def decode(self, serialised: bytes, vin: str) -> payload.Decoded:
        return payload._data(serialised, vin)


class RecordsByTwinTests(RecordsByProtobufTests):
    """A payload that is left is read by protobuf."""

    rewrite: Any = staticmethod(canonical.rewrite_data)

    def decode(self, serialised: bytes, vin: str) -> payload.Decoded:
        rewritten = self.rewrite(serialised, vin, TABLE, payload.MAX_ELEMENTS)
        if rewritten is None:
            return payload._data(serialised, vin)
        return None, *rewritten, rewritten[1], ()


class RecordsInCTests(RecordsByTwinTests):
    def setUp(self) -> None:
        self.rewrite = speedups().rewrite_data
        super().setUp()
