"""A million calls of each function in C, failing ones included, leave no memory and no reference behind."""

import gc
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from random import Random
from unittest import TestCase

from fleetgw.adapters.codec import envelope as wire
from fleetgw.adapters.ingress.tls_records import choose
from fleetgw.domain.records import Envelope
from tests.fuzz.comparisons import Comparison
from tests.fuzz.frames import frame
from tests.fuzz.rewrite_data import RewriteComparison
from tests.fuzz.split import SplitComparison
from tests.speedups.tls_pair import TlsPair
from tests.support.speedups import speedups

CALLS = 1_000_000
INPUTS = 450

MOST_BLOCKS = 300
MOST_BYTES = 4 << 20
"""Bounds on what is there after the calls and not before: one call of all that leaks exceeds one of them."""

NO_BOUND = 1 << 40
MESSAGE = wire.write_stream(
    txid=b"1", topic=b"V", sender_id=b"", payload=b"payload", created_at_s=1, device_type=b"", device_id=b""
)

Arguments = tuple[object, ...]


def wrong(arguments: Arguments) -> list[Arguments]:
    """Too few arguments, too many, and each of a wrong type, negative or too large."""
    calls = [(), arguments[:-1], (*arguments, None)]
    for at in range(len(arguments)):
        calls += [(*arguments[:at], value, *arguments[at + 1 :]) for value in (None, "text", -1, 1 << 70, int)]
    return calls


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


class LeaksTests(TestCase):
    def assert_nothing_left(self, call: Callable[[int], None], times: int, tracked: Sequence[object]) -> None:
        """Assert that a function leaves nothing.

        :param call: called with a number of repetitions.
        :param tracked: objects whose references are counted.
        """
        call(times // 50)
        gc.collect()  # also of what other tests of the process have left
        references = [sys.getrefcount(each) for each in tracked]
        blocks, resident = sys.getallocatedblocks(), resident_bytes()
        call(times)
        gc.collect()
        self.assertLess(sys.getallocatedblocks() - blocks, MOST_BLOCKS)
        self.assertLess(resident_bytes() - resident, MOST_BYTES)
        self.assertEqual([sys.getrefcount(each) for each in tracked], references)

    def assert_calls_leave_nothing(self, function: Callable[..., object], calls: Sequence[Arguments]) -> None:
        def call(times: int) -> None:
            for _ in range(times):
                for arguments in calls:
                    with suppress(Exception):
                        function(*arguments)

        # not empty or single bytes: the interpreter shares them with everybody
        tracked = [each for each in chain(*calls) if each is Envelope or (isinstance(each, bytes) and len(each) > 1)]
        self.assert_nothing_left(call, CALLS // len(calls), tracked)

    def calls(self, comparison: Comparison) -> list[Arguments]:
        """Calls with inputs of the fuzz and with wrong arguments."""
        inputs = [comparison.arguments(comparison.draw(Random(seed))[1]) for seed in range(INPUTS)]
        return inputs + wrong(inputs[0])

    def test_rewrite_data(self) -> None:
        self.assert_calls_leave_nothing(speedups().rewrite_data, self.calls(RewriteComparison(0)))

    def test_split(self) -> None:
        self.assert_calls_leave_nothing(speedups().split, self.calls(SplitComparison(0)))

    def test_receive_and_send(self) -> None:
        """Ten calls in turn: with whole records and parts of them, with replies, and with wrong arguments."""
        in_c = speedups()
        pair = TlsPair(choose(in_c))
        data, reply = frame(Random(0), MESSAGE), b"reply"
        wrong_calls: list[tuple[Callable[..., object], Arguments]] = [
            (in_c.receive, ()),
            (in_c.receive, (b"", 0, 1, 1, Envelope)),
            (in_c.receive, (b"", 1, 1, 1, int)),
            (in_c.receive, (b"", 1, 1, 1 << 70, Envelope)),
            (in_c.send, (None, 1, 1, "text")),
        ]

        def call(times: int) -> None:
            for _ in range(times):
                record = pair.record(data)
                pair.receive(record[:50])
                pair.receive(record[50:], NO_BOUND)
                pair.receive(pair.record(data), 10)
                pair.receive(b"", NO_BOUND)
                pair.decrypted(pair.send(None, reply) or b"")
                for function, arguments in wrong_calls:
                    with suppress(TypeError, ValueError, OverflowError):
                        function(*arguments)

        self.assert_nothing_left(call, CALLS // 10, [data, reply, Envelope])
