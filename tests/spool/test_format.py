"""Records and blocks as bytes."""

from unittest import TestCase

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from fleetgw.adapters.codec.contents import PARSERS
from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Payload
from fleetgw.adapters.spool.record_format import Damaged, RecordDecoder, RecordEncoder, join_block, split_block
from fleetgw.domain.records import PeerIdentity, Record, Vehicle
from tests.support.spool_case import all_of, spooled_record

ANY = st.text(st.characters(), max_size=20)  # surrogates included, as escapes of bytes are
TEXTS = st.one_of(ANY, st.binary(max_size=20).map(lambda raw: raw.decode("utf-8", "surrogateescape")))
VEHICLES = st.builds(Vehicle, st.builds(PeerIdentity, TEXTS, TEXTS), TEXTS, TEXTS, TEXTS, TEXTS)
COUNTS = st.integers(0, 2**32 - 1)
RECORDS = st.builds(
    Record,
    TEXTS.filter(lambda text: text not in PARSERS),
    st.binary(max_size=50),
    VEHICLES,
    st.binary(max_size=200),
    st.integers(-(2**63), 2**63 - 1),
    st.none(),
    COUNTS,
    st.lists(TEXTS, max_size=3).map(tuple),
    COUNTS,
    st.integers(0, 2**64 - 1),
)


def encoded(position: int, record: Record, *, json_payloads: bool = False) -> bytes:
    return RecordEncoder(json_payloads=json_payloads).encode(position, record)


class RecordFormatTests(TestCase):
    @given(RECORDS, st.integers(1, 2**63 - 1))
    def test_any_record_is_the_same_again(self, record: Record, position: int) -> None:
        decoded = RecordDecoder().decode(position, encoded(position, record), {record.record_type})
        assert decoded is not None
        self.assertEqual(all_of(decoded), all_of(record))

    def test_content_is_stored_beside_json(self) -> None:
        content = Payload(vin="x")
        vehicle = Vehicle(PeerIdentity("a", "b"), "b", "c")
        record = Record("V", b"", vehicle, b'{"vin": "x"}', 0, content, 1)
        decoded = RecordDecoder().decode(1, encoded(1, record, json_payloads=True), ("V",))
        assert decoded is not None
        self.assertEqual(all_of(decoded), all_of(record))

    def test_a_content_that_is_the_payload_is_decoded_when_asked_for(self) -> None:
        """Neither writing nor reading decodes it; and what has been decoded is stored alike."""
        content = Payload(vin="x")
        vehicle = Vehicle(PeerIdentity("a", "b"), "b", "c")
        record = Record("V", b"", vehicle, content.SerializeToString(), 0, None, 1, decode=self.fail)
        stored = encoded(1, record)
        self.assertEqual(encoded(1, evolve(record, content=content, decode=None)), stored)
        decoded = RecordDecoder().decode(1, stored, ("V",))
        assert decoded is not None
        self.assertIsNotNone(decoded.decode)
        self.assertEqual(decoded.content, content)

    def test_records_of_a_connection_share_their_vehicle(self) -> None:
        decoder = RecordDecoder()
        first, second = (decoder.decode(at, encoded(at, spooled_record(2 * at)), ("custom",)) for at in (1, 2))
        assert first is not None
        assert second is not None
        self.assertIs(first.vehicle, second.vehicle)

    def test_other_types_are_skipped(self) -> None:
        self.assertIsNone(RecordDecoder().decode(1, encoded(1, spooled_record(1)), ("V",)))

    def test_any_flipped_bit_is_damage(self) -> None:
        intact = encoded(7, spooled_record(1, "V", 20))
        for bit in range(8 * len(intact)):
            flipped = bytearray(intact)
            flipped[bit // 8] ^= 1 << bit % 8
            with self.assertRaises(Damaged):
                RecordDecoder().decode(7, bytes(flipped), ("V",))

    def test_a_record_in_the_place_of_another_one_is_damage(self) -> None:
        with self.assertRaises(Damaged):
            RecordDecoder().decode(8, encoded(7, spooled_record(1)), ("custom",))

    def test_a_part_of_a_record_is_damage(self) -> None:
        intact = encoded(7, spooled_record(1))
        for size in range(len(intact)):
            with self.assertRaises(Damaged):
                RecordDecoder().decode(7, intact[:size], ("custom",))


class BlockFormatTests(TestCase):
    @given(st.lists(st.binary(max_size=30), max_size=5))
    def test_any_records_are_the_same_again(self, records: list[bytes]) -> None:
        self.assertEqual(split_block(3, join_block(3, records)), records)

    def test_any_flipped_bit_in_the_index_is_damage(self) -> None:
        intact = join_block(3, [b"one", b"two", b"three"])
        for bit in range(8 * (4 + 4 + 3 * 4)):
            flipped = bytearray(intact)
            flipped[bit // 8] ^= 1 << bit % 8
            with self.assertRaises(Damaged):
                split_block(3, bytes(flipped))

    def test_a_block_in_the_place_of_another_one_is_damage(self) -> None:
        with self.assertRaises(Damaged):
            split_block(4, join_block(3, [b"one"]))
