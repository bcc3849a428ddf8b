"""Random histories of a connection: at every step, ``receive`` and ``send`` in C give the same as their twins."""

from collections import Counter
from contextlib import suppress
from random import Random
from unittest import TestCase

from OpenSSL import SSL

from fleetgw.adapters.ingress.tls_records import DECRYPTED_ALL, END_OF_TLS, INCOMPLETE, MORE_ENCRYPTED, choose
from tests.fuzz.frames import Streams
from tests.speedups.tls_pair import GARBAGE, VERSIONS, TlsPair, clear_errors
from tests.support.speedups import speedups

HISTORIES = 200
STEPS = 25
NO_BOUND = 1 << 40


class History:
    """One connection on one path; its steps are drawn from the seed alone."""

    def __init__(self, seed: int, pair: TlsPair, streams: Streams) -> None:
        self._random = Random(seed)
        self._pair = pair
        self._streams = streams
        self._encrypted = b""

    def step(self) -> object:
        """Write and read at random; returns all results."""
        random, pair = self._random, self._pair
        self._write()
        chance = random.random()
        if chance < 0.02:
            self._encrypted += random.choice(GARBAGE)
        elif chance < 0.04 and self._encrypted:
            at = random.randrange(len(self._encrypted))
            self._encrypted = self._encrypted[:at] + bytes((self._encrypted[at] ^ 1,)) + self._encrypted[at + 1 :]
        elif chance < 0.06:
            with suppress(SSL.Error):
                pair.client.shutdown()
            self._encrypted += pair.encrypted()
        elif chance < 0.08 and pair.version == SSL.TLS1_2_VERSION:
            with suppress(SSL.Error):
                pair.client.renegotiate()
                pair.client.do_handshake()
            self._encrypted += pair.encrypted()
        size = random.choice((0, 1, 5, 22, 100, 1000, len(self._encrypted), len(self._encrypted), 1 << 16))
        read, self._encrypted = self._encrypted[:size], self._encrypted[size:]
        max_message_bytes = random.choice((NO_BOUND, NO_BOUND, NO_BOUND, 200, 0, -1))
        received = pair.receive(read, max_message_bytes)
        return (
            received,
            [type(message) for message in received[1]],
            self._sent() if random.random() < 0.3 else None,
        )

    def _write(self) -> None:
        random = self._random
        data = self._streams.draw(random)[1] if random.random() < 0.7 else random.randbytes(random.choice((1, 2000, 40_000)))
        size = len(data) // random.choice((1, 1, 2, 10, 100)) + 1
        for at in range(0, len(data), size):
            with suppress(SSL.Error):
                self._encrypted += self._pair.record(data[at : at + size])

    def _sent(self) -> object:
        """Plaintext of a reply as the client sees it; sizes alone are seen of a connection that has failed."""
        unsent = self._pair.send(None, self._random.randbytes(self._random.choice((1, 100, 16_384))))
        with suppress(SSL.Error):
            return self._pair.decrypted(unsent or b"")
        return unsent and len(unsent)


class HistoryTests(TestCase):
    def test_every_step_is_alike(self) -> None:
        twins, in_c = choose(None), choose(speedups())
        self.assertIs(in_c.receive, speedups().receive, "OpenSSL's functions can be had here")
        streams = Streams(0)
        statuses: Counter[int] = Counter()
        for seed in range(HISTORIES):
            version = VERSIONS[seed % 2]
            one, other = (History(seed, TlsPair(functions, version), streams) for functions in (twins, in_c))
            for step in range(STEPS):
                wanted = one.step()
                clear_errors()
                given = other.step()
                clear_errors()
                if given != wanted:
                    self.fail(f"seed {seed}, step {step}: {wanted!r}\nin C: {given!r}")
                statuses[wanted[0][0]] += 1  # type: ignore[index]  # the result of ``receive``
        for status in (DECRYPTED_ALL, MORE_ENCRYPTED, INCOMPLETE, END_OF_TLS):
            self.assertGreater(statuses[status], 20, statuses)
