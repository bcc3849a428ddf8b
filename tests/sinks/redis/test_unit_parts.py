"""Parts of a dispatch: outcomes that are known already when a connection is lost."""

from typing import Any, cast
from unittest import TestCase

from fleetgw.adapters.sinks.redis.parts import Part
from fleetgw.testing.sink_doubles import make_record


class PartTests(TestCase):
    def setUp(self) -> None:
        self.records = [make_record(txid=str(number)) for number in range(4)]
        self.part = Part(cast("Any", None), [4, 5, 6, 7], self.records)  # a part only hands it on

    def test_settled_records_keep_their_channels_and_counts(self) -> None:
        self.part.results = [None, 2, None, 0]
        self.part.channel_counts, self.part.channels = {1: 3}, {3: [b"channel"]}
        settled = self.part.settled()
        assert settled is not None
        self.assertEqual((settled.indexes, settled.records), ([5, 7], [self.records[1], self.records[3]]))
        self.assertEqual((settled.results, settled.channel_counts, settled.channels), ([2, 0], {0: 3}, {1: [b"channel"]}))

    def test_nothing_is_settled_without_a_result(self) -> None:
        self.assertIsNone(self.part.settled())

    def test_records_without_a_result_go_on_one_by_one(self) -> None:
        self.part.results = [None, 2, None, 0]
        singles = [(single.indexes, single.records) for single in self.part.singles()]
        self.assertEqual(singles, [([4], [self.records[0]]), ([6], [self.records[2]])])
