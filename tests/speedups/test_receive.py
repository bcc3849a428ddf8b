"""``receive`` in Python and in C: bytes that were left over from the read before, and damaged records."""

from unittest import TestCase

from fleetgw.adapters.ingress.tls_records import DECRYPTED_ALL, END_OF_TLS, INCOMPLETE, choose
from tests.speedups.tls_pair import GARBAGE, VERSIONS, TlsPair, clear_errors
from tests.support.speedups import speedups


class ReceiveInPythonTests(TestCase):
    def setUp(self) -> None:
        self.functions = choose(None)
        self.addCleanup(clear_errors)

    def pairs(self) -> list[TlsPair]:
        return [TlsPair(self.functions, version) for version in VERSIONS]

    def test_one_record_while_a_part_was_left_from_before(self) -> None:
        """The second read has the size of its first record, which began in the first read: no size tells what is left."""
        for pair in self.pairs():
            probe = pair.record(b"x")
            self.assertEqual(pair.receive(probe), (DECRYPTED_ALL, [], b"x"))
            first, second = pair.record(b"a" * 100), pair.record(b"b" * 40)
            self.assertEqual(pair.receive(first[:-60]), (INCOMPLETE, [], b""))
            read = first[-60:] + second
            self.assertEqual(len(read), 100 + len(probe) - 1)
            self.assertEqual(pair.receive(read), (DECRYPTED_ALL, [], b"a" * 100 + b"b" * 40))
            self.assertEqual(pair.receive(b""), (INCOMPLETE, [], b""), "nothing is left")

    def test_each_flipped_byte_of_a_record(self) -> None:
        for version in VERSIONS:
            for at in range(len(TlsPair(self.functions, version).record(b"second"))):
                pair = TlsPair(self.functions, version)
                data = pair.record(b"first")
                damaged = bytearray(pair.record(b"second"))
                damaged[at] ^= 0x80
                status, _, plaintext = pair.receive(data + damaged)
                self.assertEqual(plaintext, b"first")
                # a record that is longer by 128 bytes is incomplete
                self.assertEqual(status, INCOMPLETE if at == 4 else END_OF_TLS, at)

    def test_garbage_behind_a_record(self) -> None:
        for garbage in GARBAGE:
            for pair in self.pairs():
                status, _, plaintext = pair.receive(pair.record(b"first") + garbage)
                self.assertIn(status, (END_OF_TLS, INCOMPLETE))
                self.assertEqual(plaintext, b"first")


class ReceiveInCTests(ReceiveInPythonTests):
    def setUp(self) -> None:
        super().setUp()
        self.functions = choose(speedups())
        self.assertIs(self.functions.receive, speedups().receive, "OpenSSL's functions can be had here")
