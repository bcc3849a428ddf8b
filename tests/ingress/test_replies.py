from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.codec import envelope
from fleetgw.adapters.ingress.replies import CACHED_ACK_BYTES, CACHED_ACKS, ReplyFrames
from fleetgw.testing.sink_doubles import make_record


class ReplyFramesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.frames = ReplyFrames()

    def test_the_codecs_envelope_behind_a_frame_header(self) -> None:
        for size_bytes, header in (
            (36, b"\x82\x70"),
            (300, b"\x82\x7e\x01\x78"),
            (70_000, b"\x82\x7f" + bytes(5) + b"\x01\x11\xbc"),
        ):
            txid = b"t" * size_bytes
            for _ in range(2):
                self.assertEqual(self.frames.ack("V", txid), header + envelope.ack("V", txid))
        self.assertEqual(self.frames.error(b""), b"\x82\x7e\x00\x9c" + envelope.error_reply(b""))

    def test_acknowledgements_of_records_in_order(self) -> None:
        records = [
            make_record(txid=f"tx-{number}", record_type=each) for number, each in enumerate(["V", "alerts", "V"] * 2)
        ]
        for some in (records, records[:1], records[1:2]):
            self.assertEqual(self.frames.acks(some), b"".join(self.frames.ack(each.record_type, each.txid) for each in some))

    def test_the_cache_is_bounded(self) -> None:
        for number in range(2 * CACHED_ACKS):
            self.frames.ack(f"type{number}", b"tx")
        self.assertEqual(len(self.frames._parts), CACHED_ACKS)

    def test_nothing_long_is_cached(self) -> None:
        self.frames.ack("V", bytes(CACHED_ACK_BYTES))
        self.frames.ack("x" * CACHED_ACK_BYTES, b"t")
        self.assertEqual(self.frames._parts, {})
