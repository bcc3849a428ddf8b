"""Dead letters of a lane."""

import base64

from fleetgw.domain.errors import Rejected
from fleetgw.domain.line_limit import INTERVAL_S, LINES
from fleetgw.testing.sink_doubles import make_record
from tests.support.lane_case import LaneCase, succeeded


class DeadLetterTests(LaneCase):
    def refuse(self, count: int, **how: object) -> list[dict[str, object]]:
        self.sink.answer_with = lambda batch: succeeded([Rejected("too large")] * len(batch))
        for number in range(count):
            self.offer(f"{number}" + "x" * 1000, **how)  # type: ignore[arg-type]
            self.linger()
        return self.log.fields_of("dead_letter")

    def test_the_last_copy_is_always_logged_with_its_payload(self) -> None:
        letters = self.refuse(50)
        self.assertEqual(len([each for each in letters if "payload_base64" in each]), 50)
        self.assertEqual(len(letters[0]["metadata"]["txid"]), 1001)  # type: ignore[index]

    def test_a_record_that_the_vehicle_resends_is_logged_without_payload_and_rate_limited(self) -> None:
        letters = self.refuse(50, origin=self.origin)
        self.assertEqual(len(letters), LINES)
        self.assertEqual(letters[0]["payload_bytes"], 5)
        self.assertNotIn("payload_base64", letters[0])
        self.assertLess(len(letters[0]["metadata"]["txid"]), 200)  # type: ignore[index]
        self.assertEqual(self.number("dead_letter_total"), 50)
        self.clock.advance(INTERVAL_S)
        self.assertEqual(self.refuse(1, origin=self.origin)[-1]["more_unwritten"], 50 - LINES)

    def test_a_dead_letter_is_logged_with_reason_metadata_and_payload(self) -> None:
        self.offer("acked")
        self.offer("awaited", origin=self.origin)
        self.linger()
        self.sink.answer(0, Rejected("too large"))
        letters = self.log.fields_of("dead_letter")
        self.assertEqual([letter["vehicle_resends"] for letter in letters], [False, True])
        self.assertEqual(letters[0]["dispatcher"], "scripted")
        self.assertEqual(letters[0]["error"], "too large")
        self.assertEqual(base64.b64decode(str(letters[0]["payload_base64"])), b"12345")
        self.assertEqual(letters[0]["metadata"], make_record(txid="acked").metadata())
        self.assertEqual(self.origin.confirmed_txids, [])
