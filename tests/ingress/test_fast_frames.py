"""Frames that the fast path parses, in Python and in C, and frames that it leaves to Autobahn."""

import json
import sys
from itertools import product
from pathlib import Path
from typing import Any
from unittest import TestCase

from hypothesis import given, settings
from hypothesis import strategies as st

from fleetgw.adapters.codec import envelope as wire
from fleetgw.adapters.ingress.fast_frames import (
    MESSAGES_AT_ONCE,
    binary_frame_header,
    frame_size_needed,
    split,
    split_frames,
)
from fleetgw.adapters.speedups import SPEEDUPS
from fleetgw.domain.records import MAX_ID_BYTES, Envelope
from tests.support.client_frames import frame_of, stream
from tests.support.speedups import speedups

GOOD = b"\x82\x83\0\0\0\0abc"
USUAL = [
    bytes.fromhex(case["in"])
    for case in json.loads((Path(__file__).parents[1] / "vectors" / "envelopes.json").read_text())["cases"]
    if case["name"].startswith("usual builder")
]
EDGES = [0, 1, 2, 4, 14, 16, 20, 125, 126, 127, 128, 253, 254, 255]


class SplitFramesTests(TestCase):
    """The twin in Python."""

    def split(self, *arguments: Any) -> tuple[list[Envelope | bytes], int]:  # one signature for both
        return split_frames(*arguments)

    def assertSplit(self, data: bytes, position: int, messages: list[Any], end: int, what: str = "") -> None:
        """Assert that frames without bounds give these messages."""
        self.assertEqual(self.split(data, position, sys.maxsize, sys.maxsize, Envelope), (messages, end), what)

    def test_whole_frames_are_parsed(self) -> None:
        for size in (0, 1, 7, 8, 9, 125, 126, 1000, 65_535):
            payload = bytes(number % 251 for number in range(size))
            length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
            mask = b"\x01\x20\x03\xff"
            masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
            frame = b"\x82" + length + mask + masked
            self.assertSplit(b"head" + frame * 3 + b"\x89", 4, [payload] * 3, 4 + 3 * len(frame))

    def test_all_other_frames_are_left_to_autobahn(self) -> None:
        for what, frame in {
            "text": b"\x81\x83\0\0\0\0abc",
            "continuation": b"\x80\x83\0\0\0\0abc",
            "not final": b"\x02\x83\0\0\0\0abc",
            "reserved bit": b"\xc2\x83\0\0\0\0abc",
            "ping": b"\x89\x83\0\0\0\0abc",
            "not masked": b"\x82\x03abc",
            "not masked, with room for a mask": b"\x82\x03abcdefgh",
            "not masked, long": b"\x82\x7e\x00\x7e" + bytes(200),
            "short length in 16 bits": b"\x82\xfe\x00\x03\0\0\0\0abc",
            "length of 125 in 16 bits": b"\x82\xfe\x00\x7d\0\0\0\0" + bytes(125),
            "length in 64 bits": b"\x82\xff" + (65_536).to_bytes(8, "big") + bytes(4 + 65_536),
        }.items():
            self.assertSplit(frame + GOOD, 0, [], 0, what)
            self.assertSplit(GOOD + frame + GOOD, 0, [b"abc"], len(GOOD), what)

    def test_no_partial_frame_is_parsed(self) -> None:
        for frame in (GOOD, b"\x82\xfe\x00\x7e\0\0\0\0" + bytes(126)):
            for end in range(len(frame)):
                self.assertSplit(GOOD + frame[:end], 0, [b"abc"], len(GOOD))

    def test_usual_messages_are_envelopes(self) -> None:
        self.assertEqual({wire._USUAL_STREAM_DELIVERED in message for message in USUAL}, {False, True})
        for message in (*USUAL, stream(), stream(b"", b"", b"")):
            frame = frame_of(message)
            self.assertSplit(frame, 0, [wire.read(message)], len(frame))
            (envelope,), _ = self.split(frame, 0, sys.maxsize, sys.maxsize, Envelope)
            self.assertIs(type(envelope), Envelope)

    def test_messages_of_other_layouts_stay_bytes(self) -> None:
        unusual = stream()[:6] + b"\x0f" + stream()[7:]
        for message in (b"", unusual, wire.ack("V", b"1"), stream()[:-12]):
            frame = frame_of(message)
            self.assertSplit(
                frame + frame_of(stream()), 0, [message, wire.read(stream())], len(frame) + len(frame_of(stream()))
            )

    def test_long_ids_stay_bytes(self) -> None:
        most = b"x" * MAX_ID_BYTES
        for message, is_read in (
            (stream(txid=most), True),
            (stream(topic=most), True),
            (stream(txid=most + b"x"), False),
            (stream(topic=most + b"x"), False),
        ):
            frame = frame_of(message)
            self.assertSplit(frame, 0, [wire.read(message) if is_read else message], len(frame))

    def test_messages_beyond_the_limit_stay_bytes(self) -> None:
        message = stream()
        frame = frame_of(message)
        for limit, wanted in ((len(message), wire.read(message)), (len(message) - 1, message), (0, message), (-1, message)):
            self.assertEqual(self.split(frame, 0, sys.maxsize, limit, Envelope), ([wanted], len(frame)))

    def test_so_many_messages_at_once(self) -> None:
        self.assertSplit(GOOD * 100, 0, [b"abc"] * MESSAGES_AT_ONCE, MESSAGES_AT_ONCE * len(GOOD))
        size = len(GOOD)
        for most_bytes, count in ((-1, 0), (0, 0), (1, 1), (size, 1), (size + 1, 2), (3 * size, 3)):
            messages = ([b"abc"] * count, 4 + count * size)
            self.assertEqual(self.split(b"head" + GOOD * 5, 4, most_bytes, sys.maxsize, Envelope), messages, most_bytes)

    def test_positions_outside_the_bytes(self) -> None:
        for position in (len(GOOD), len(GOOD) + 1, 1 << 40):
            self.assertSplit(GOOD, position, [], position)
        with self.assertRaisesRegex(ValueError, "negative"):
            self.split(GOOD, -1, 1, 1, Envelope)


class SplitInCTests(SplitFramesTests):
    """The extension passes the tests of the twin, and agrees with it on other bytes."""

    def setUp(self) -> None:
        self.speedups = speedups()

    def split(self, *arguments: Any) -> tuple[list[Envelope | bytes], int]:
        result: tuple[list[Envelope | bytes], int] = self.speedups.split(*arguments)
        return result

    def test_the_extension_is_in_use(self) -> None:
        self.assertIs(split, split_frames if SPEEDUPS is None else self.speedups.split)

    @settings(max_examples=500)
    @given(
        st.lists(
            st.one_of(st.sampled_from(USUAL), st.builds(stream, *[st.binary(max_size=9)] * 3), st.binary(max_size=300))
        ),
        st.binary(min_size=4, max_size=4),
        st.lists(st.tuples(st.integers(0, 400), st.sampled_from(EDGES)), max_size=4),
        st.integers(0, 40),
        st.integers(0, 30),
        st.sampled_from([-1, 0, 1, 100, 400, sys.maxsize]),
        st.sampled_from([0, 150, 200, sys.maxsize]),
    )
    def test_both_split_alike(
        self,
        messages: list[bytes],
        mask: bytes,
        changes: list[tuple[int, int]],
        cut: int,
        position: int,
        most_bytes: int,
        max_message_bytes: int,
    ) -> None:
        """Changed are bytes of the last message, before it is masked, and of the first frame."""
        last = bytearray(messages.pop()) if messages else bytearray()
        for at, value in changes[:3]:
            last[at : at + 1] = bytes([value]) if at < len(last) else b""
        data = bytearray(b"".join([frame_of(message, mask) for message in (*messages, bytes(last))]))
        for at, value in changes[3:]:
            data[at : at + 1] = bytes([value]) if at < len(data) else b""
        arguments = (bytes(data[: len(data) - cut]), position if max_message_bytes else 0, most_bytes, max_message_bytes)
        self.assertEqual(self.speedups.split(*arguments, Envelope), split_frames(*arguments, Envelope))

    def test_every_changed_byte(self) -> None:
        """Among them every offset and length that leads out of the message, and every tag."""
        for message in USUAL:
            for at, value in product(range(len(message)), EDGES):
                frame = frame_of(message[:at] + bytes([value]) + message[at + 1 :])
                self.assertEqual(self.split(frame, 0, 1000, 1000, Envelope), split_frames(frame, 0, 1000, 1000, Envelope))

    def test_bytes_beyond_a_cut_message_are_not_read(self) -> None:
        """The buffer in which a message is unmasked still holds the longer one before it."""
        message = stream(payload=b"x" * 50)
        for end in range(len(message)):
            frames = frame_of(message) + frame_of(message[:end])
            self.assertEqual(self.split(frames, 0, 1000, 1000, Envelope), split_frames(frames, 0, 1000, 1000, Envelope))

    def test_wrong_arguments(self) -> None:
        good = (GOOD, 0, 10, 10, Envelope)
        for at, wrong in ((0, bytearray(GOOD)), (0, None), (1, "0"), (2, 1.5), (3, None), (4, None), (4, list), (4, ())):
            with self.assertRaises(TypeError, msg=(at, wrong)):
                self.speedups.split(*good[:at], wrong, *good[at + 1 :])
        for few in (good[:4], (*good, 1)):
            with self.assertRaises(TypeError):
                self.speedups.split(*few)


class HeaderTests(TestCase):
    @given(st.integers(0, 1 << 40))
    def test_a_servers_header(self, length: int) -> None:
        header = binary_frame_header(length)
        self.assertEqual(header[0], 0x82)
        if header[1] < 126:
            self.assertEqual((header[1], len(header)), (length, 2))
        else:
            self.assertEqual(header[1], 126 if length < 65_536 else 127)
            self.assertEqual(int.from_bytes(header[2:], "big"), length)
            self.assertEqual(len(header), 4 if length < 65_536 else 10)

    def test_size_of_a_clients_header(self) -> None:
        self.assertEqual([frame_size_needed(bytes(size)) for size in (0, 5, 6, 7, 8, 13)], [6, 6, 8, 8, 14, 14])
