"""Frames that the fast path parses, and frames that it leaves to Autobahn."""

from unittest import TestCase

from hypothesis import given
from hypothesis import strategies as st

from fleetgw.adapters.ingress.fast_frames import binary_frame_header, frame_size_needed, split_frames

GOOD = b"\x82\x83\0\0\0\0abc"


class SplitFramesTests(TestCase):
    def test_whole_frames_are_parsed(self) -> None:
        for size in (0, 1, 125, 126, 1000, 65_535):
            payload = bytes(number % 251 for number in range(size))
            length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
            mask = b"\x01\x20\x03\xff"
            masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
            frame = b"\x82" + length + mask + masked
            self.assertEqual(split_frames(b"head" + frame * 3 + b"\x89", 4), ([payload] * 3, 4 + 3 * len(frame)))

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
            "length in 64 bits": b"\x82\xff" + (65_536).to_bytes(8, "big") + bytes(4 + 65_536),
        }.items():
            self.assertEqual(split_frames(frame + GOOD, 0), ([], 0), what)
            self.assertEqual(split_frames(GOOD + frame + GOOD, 0), ([b"abc"], len(GOOD)), what)

    def test_no_partial_frame_is_parsed(self) -> None:
        for frame in (GOOD, b"\x82\xfe\x00\x7e\0\0\0\0" + bytes(126)):
            for end in range(len(frame)):
                self.assertEqual(split_frames(GOOD + frame[:end], 0), ([b"abc"], len(GOOD)))


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
