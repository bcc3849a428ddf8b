"""Envelopes read by layout are those that the plain reader reads, whatever the bytes are."""

from collections.abc import Callable
from unittest import TestCase, mock

from hypothesis import given
from hypothesis import strategies as st

from fleetgw.adapters.codec import envelope_layouts
from fleetgw.adapters.codec.envelope import read, write_stream
from fleetgw.adapters.codec.envelope_layouts import LEARN_EVERY, EnvelopeReader
from fleetgw.domain.errors import MalformedEnvelope

WORDS = st.binary(max_size=12)
MESSAGES = st.builds(
    write_stream,
    txid=WORDS,
    topic=WORDS,
    sender_id=WORDS,
    payload=st.binary(max_size=40),
    created_at_s=st.integers(0, 2**32 - 1),
    device_type=WORDS,
    device_id=WORDS,
)


def message(txid: bytes = b"one", payload: bytes = b"payload") -> bytes:
    return write_stream(
        txid=txid, topic=b"V", sender_id=b"a.b", payload=payload, created_at_s=1, device_type=b"d", device_id=b"e"
    )


def outcome(reader: Callable[[bytes], object], content: bytes) -> object:
    try:
        return reader(content)
    except MalformedEnvelope as error:
        return str(error)


def reader_that_knows(*messages: bytes) -> EnvelopeReader:
    reader = EnvelopeReader()
    for content in messages:
        for _ in range(LEARN_EVERY):
            outcome(reader.read, content)
    return reader


class EnvelopeLayoutTests(TestCase):
    def test_a_known_layout_is_used(self) -> None:
        reader = reader_that_knows(message())
        with mock.patch.object(envelope_layouts.wire, "read", wraps=read) as plain_read:
            self.assertEqual(reader.read(message(b"two", b"ANOTHER"))[2:], (b"two", b"V", b"a.b", b"ANOTHER"))
            plain_read.assert_not_called()
            reader.read(message(b"three"))
            plain_read.assert_called_once_with(message(b"three"))

    @given(MESSAGES, MESSAGES)
    def test_two_messages(self, first: bytes, second: bytes) -> None:
        reader = reader_that_knows(first)
        for content in (first, second):
            self.assertEqual(outcome(reader.read, content), outcome(read, content))

    @given(MESSAGES, st.data())
    def test_a_message_changed_anywhere(self, known: bytes, data: st.DataObject) -> None:
        reader = reader_that_knows(known)
        changed = bytearray(known)
        for _ in range(data.draw(st.integers(1, 4))):
            changed[data.draw(st.integers(0, len(known) - 1))] = data.draw(st.sampled_from((0, 1, 4, 7, 8, 14, 20, 24, 255)))
        self.assertEqual(outcome(reader.read, bytes(changed)), outcome(read, bytes(changed)))
        # and what was changed may be learnt from in its turn
        reader = reader_that_knows(bytes(changed))
        self.assertEqual(outcome(reader.read, known), outcome(read, known))

    def test_the_number_of_layouts_is_bounded(self) -> None:
        reader = reader_that_knows(*(message(payload=bytes(size)) for size in range(1, 4400, 2)))
        self.assertEqual(len(reader._layouts), envelope_layouts.LENGTHS)
        self.assertLessEqual(max(reader._layouts), envelope_layouts.LENGTH_LIMIT_BYTES)
