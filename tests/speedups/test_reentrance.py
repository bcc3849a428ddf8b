"""A function in C that is called again while it runs: a collection of garbage may run any code."""

import gc
from random import Random
from unittest import TestCase

from fleetgw.adapters.codec import envelope as wire
from fleetgw.domain.records import Envelope
from tests.fuzz.frames import frame
from tests.support.speedups import speedups

NO_BOUND = 1 << 40


def frames(byte: bytes, count: int) -> bytes:
    message = wire.write_stream(
        txid=byte * 36,
        topic=b"V",
        sender_id=byte * 20,
        payload=byte * 100,
        created_at_s=1,
        device_type=byte,
        device_id=byte,
    )
    return b"".join(frame(Random(0), message) for _ in range(count))


class ReentranceTests(TestCase):
    def test_split_within_split(self) -> None:
        split = speedups().split
        data, other = frames(b"a", 60), frames(b"z", 3)
        wanted = split(data, 0, NO_BOUND, NO_BOUND, Envelope)
        # Tuples of six: one that was freed would be used again, without a collection.
        kept: list[object] = [tuple([number] * 6) for number in range(5000)]
        collections = 0

        def called(phase: str, info: object) -> None:
            nonlocal collections
            collections += 1
            split(other, 0, NO_BOUND, NO_BOUND, Envelope)
            kept.append((phase, info, 3, 4, 5, 6))

        gc.freeze()  # a collection does not go through the objects of all tests before
        self.addCleanup(gc.unfreeze)
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        self.addCleanup(gc.callbacks.remove, called)
        gc.callbacks.append(called)
        gc.set_threshold(1, 1, 1)
        for turn in range(50):
            gc.collect()
            kept.extend(set() for _ in range(turn % 3))  # so that different allocations collect
            result = split(data, 0, NO_BOUND, NO_BOUND, Envelope)
            self.assertEqual(result, wanted)
            kept.append(result)
        self.assertGreater(collections, 50)
