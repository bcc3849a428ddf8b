"""MQTT packets byte for byte."""

from unittest import TestCase

from hypothesis import given
from hypothesis import strategies as st

from fleetgw.adapters.sinks.mqtt.messages import Message
from fleetgw.adapters.sinks.mqtt.packets import (
    RECEIVED_SIZE_LIMIT_BYTES,
    ProtocolError,
    acknowledgement,
    is_failure,
    length_prefix,
    publish_writer,
    pubrel,
    read_packets,
    read_plain_pubacks,
)

MESSAGE = Message(b"a/b", b"12")


class WritingTests(TestCase):
    def test_publish(self) -> None:
        cases = [
            (0, False, False, b"\x30\x07\0\3a/b12"),
            (0, True, False, b"\x31\x07\0\3a/b12"),
            (1, False, False, b"\x32\x09\0\3a/b\x01\x0212"),
            (2, True, False, b"\x35\x09\0\3a/b\x01\x0212"),
            (1, False, True, b"\x32\x0a\0\3a/b\x01\x02\x0012"),
            (0, False, True, b"\x30\x08\0\3a/b\x0012"),
        ]
        for qos, retained, properties, packet in cases:
            with self.subTest(qos=qos, retained=retained, properties=properties):
                write = publish_writer(qos, retained=retained, properties=properties)
                self.assertEqual(write(MESSAGE, 0x102), packet)

    def test_lengths_of_the_specification(self) -> None:
        for size, prefix in (
            (0, b"\0"),
            (127, b"\x7f"),
            (128, b"\x80\x01"),
            (16_383, b"\xff\x7f"),
            (16_384, b"\x80\x80\x01"),
            (2_097_151, b"\xff\xff\x7f"),
            (2_097_152, b"\x80\x80\x80\x01"),
            (268_435_455, b"\xff\xff\xff\x7f"),
        ):
            self.assertEqual(length_prefix(size), prefix)

    def test_publish_around_each_length(self) -> None:
        write = publish_writer(1, retained=False, properties=False)
        for size in (117, 118, 119, 16_380):
            packet = write(Message(b"a/b", bytes(size)), 1)
            self.assertEqual(packet[1:].split(b"\0\3a/b")[0], length_prefix(size + 7))

    def test_pubrel(self) -> None:
        self.assertEqual(pubrel(0x1234), b"\x62\x02\x12\x34")


class ReadingTests(TestCase):
    @given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=300))), st.data())
    def test_packets_are_read_from_any_pieces(self, packets: list[tuple[int, bytes]], data: st.DataObject) -> None:
        stream = b"".join(bytes([first]) + length_prefix(len(body)) + body for first, body in packets)
        read, left_over = [], b""
        while stream:
            cut = data.draw(st.integers(1, len(stream)))
            more, left_over = read_packets(left_over + stream[:cut])
            read += more
            stream = stream[cut:]
        self.assertEqual(left_over, b"")
        self.assertEqual([(packet.first, packet.body) for packet in read], packets)
        self.assertEqual(
            [packet.whole for packet in read],
            [bytes([first]) + length_prefix(len(body)) + body for first, body in packets],
        )

    def test_lengths_that_no_expected_packet_has(self) -> None:
        for received in (b"\x40\xff\xff\xff\xff\x01", b"\x30" + length_prefix(RECEIVED_SIZE_LIMIT_BYTES + 1)):
            with self.assertRaises(ProtocolError):
                read_packets(received)

    def test_acknowledgements(self) -> None:
        self.assertEqual(acknowledgement(b"\x01\x02"), (0x102, 0))
        self.assertEqual(acknowledgement(b"\x01\x02\x87\x00"), (0x102, 0x87))
        with self.assertRaises(ProtocolError):
            acknowledgement(b"\x01")

    @given(
        st.lists(st.sampled_from([b"\x40\2\1\2", b"\x40\2\xff\0", b"\x40\3\1\2\x10", b"\x50\2\1\2", b"\xd0\0"])),
        st.integers(0, 3),
    )
    def test_both_readers_agree_on_plain_pubacks(self, packets: list[bytes], missing: int) -> None:
        stream = b"".join(packets)[: -missing or None]
        plain, left_over = read_plain_pubacks(stream)
        others, _ = read_packets(left_over)
        everything, _ = read_packets(stream)
        self.assertEqual(plain, [acknowledgement(packet.body) for packet in everything[: len(plain)]])
        self.assertEqual(others, everything[len(plain) :])
        if len(packets) > len(plain) and not missing:
            self.assertNotEqual(packets[len(plain)][:2], b"\x40\2", "all there are are taken")

    def test_failures(self) -> None:
        self.assertEqual([code for code in (0, 0x10, 0x7F, 0x80, 0x97) if is_failure(code)], [0x80, 0x97])
