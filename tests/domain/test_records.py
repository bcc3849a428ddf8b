"""The content of records: made when it is first asked for."""

from unittest import TestCase

from fleetgw.domain.dead_letter import dead_letter
from fleetgw.domain.records import PeerIdentity, Record, Vehicle

VEHICLE = Vehicle(PeerIdentity("vehicle_device", "VIN"), "VIN", "c")


class LazyContentTests(TestCase):
    def setUp(self) -> None:
        self.decoded: list[bytes] = []

    def decode(self, payload: bytes) -> object:
        self.decoded.append(payload)
        return [payload]

    def record(self, content: object = None) -> Record:
        decode = self.decode if content is None else None
        return Record("V", b"tx", VEHICLE, b"payload", 0, content, 1, decode=decode)

    def test_decoded_once_when_first_asked_for(self) -> None:
        record = self.record()
        self.assertEqual(self.decoded, [])
        content = record.content
        self.assertEqual(content, [b"payload"])
        self.assertIs(record.content, content)
        self.assertEqual(self.decoded, [b"payload"])

    def test_a_content_that_is_given(self) -> None:
        given = object()
        self.assertIs(self.record(given).content, given)

    def test_a_custom_record_has_none(self) -> None:
        self.assertIsNone(Record("custom", b"tx", VEHICLE, b"payload", 0, None, 0).content)

    def test_dead_letters(self) -> None:
        """They have the content of the record, and do not ask for it."""
        given = object()
        letter = dead_letter(dead_letter(self.record(), "reason", 1), "reason", 2)
        self.assertEqual(self.decoded, [])
        self.assertEqual(letter.content, [b"payload"])
        self.assertIs(dead_letter(self.record(given), "reason", 1).content, given)
