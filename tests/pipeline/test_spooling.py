"""Record types that are spooled: when records are acknowledged, and when sinks get them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.task import Clock

from fleetgw.domain.errors import Rejected, Retryable, SpoolFull, StorageError
from fleetgw.domain.ports import RECEIPT, ConnectivityStatus
from tests.support.books import assert_balanced
from tests.support.controlled_spool import ControlledSpool
from tests.support.session_case import CODEC, NOW_NS, VIN, RecordingSink, SessionCase, acks, answers, message, vehicle

if TYPE_CHECKING:
    from fleetgw.app.pipeline.session import Session

FAILED = StorageError("the disk fails")
SINKS = ("kafka", "redis")


class SpoolingCase(SessionCase):
    """A gateway that routes ``V`` to kafka and redis, over a spool that syncs when it is told to."""

    def setUp(self) -> None:
        super().setUp()
        self.sinks = {name: RecordingSink(name) for name in SINKS}
        self.kafka, self.redis = self.sinks.values()
        self.room = dict.fromkeys(SINKS, 1000)
        self.records = {"V": SINKS}
        self.disk = self.spool = ControlledSpool()

    def sent(self, *txids: bytes, policy: str = "spooled") -> Session:
        """A session that has received these records in one read."""
        session = self.session({"V": policy})
        answers(session, [message("V", txid) for txid in txids])
        return session

    def read_all(self) -> None:
        """Answer every read, with those that follow."""
        self.clock.advance(0)
        while self.disk.reads:
            self.disk.answer_read()
            self.clock.advance(0)

    def deliver_all(self) -> None:
        """Have the sinks confirm all records, those included that are read meanwhile."""
        for _ in range(20):
            self.dispatch()
            for sink in self.sinks.values():
                sink.answer()
            self.read_all()

    def restart(self, policy: str = "spooled") -> Session:
        """Kill the process, and begin another one."""
        self.disk = self.spool = self.disk.killed()
        self.clock = Clock()
        self.sinks = {name: RecordingSink(name) for name in SINKS}
        self.kafka, self.redis = self.sinks.values()
        return self.session({"V": policy})


class AckTests(SpoolingCase):
    def test_spooled_acks_after_the_sync_and_in_one_write(self) -> None:
        session = self.sent(b"1", b"2")
        answers(session, [message("V", b"3")])
        self.deliver_all()
        self.assertEqual(self.link.sent, [], "no sink's confirmation makes an ack due")
        self.disk.sync()
        self.assertEqual(self.link.sent, [acks("V", b"1", b"2")])
        self.disk.sync()
        self.assertEqual(self.link.sent[1:], [acks("V", b"3")])
        self.assertEqual(self.value("reliable_ack", "V", "spooled"), 3)
        self.assertEqual(self.value("spooled_reliable_ack_total", "V"), 3)
        self.assertEqual(self.value("dispatch_total", "V"), 3)

    def test_a_failed_sync_acks_nothing_and_the_live_sinks_have_the_records(self) -> None:
        self.sent(b"1")
        self.disk.sync(FAILED)
        self.deliver_all()
        self.assertEqual(self.link.sent, [])
        self.assertEqual(self.kafka.txids, [b"1"])

    def test_a_spool_that_takes_nothing_keeps_no_record_from_the_sinks(self) -> None:
        for failure in (FAILED, SpoolFull("full")):
            with self.subTest(failure):
                self.setUp()
                self.disk.refusal = failure
                self.sent(b"1", policy="spooled or redis")
                self.dispatch()
                self.kafka.answer()
                self.assertEqual((self.kafka.txids, self.link.sent), ([b"1"], []))
                self.redis.answer()
                self.assertEqual(self.link.sent, [acks("V", b"1")])

    def test_an_expression_over_the_spool_and_a_sink(self) -> None:
        for policy, steps in (
            ("spooled and redis", {"sync": False, "redis": True}),
            ("spooled and redis", {"redis": False, "sync": True}),
            ("spooled and redis", {"kafka": False, "sync": False, "refuse": False}),
            ("spooled or redis", {"redis": True}),
            ("spooled or redis", {"sync": True}),
            ("spooled or redis", {"fail": False, "redis": True}),
            ("spooled or redis", {"refuse": False, "sync": True}),
            ("spooled and redis", {"fail": False, "redis": False}),
            ("kafka and (spooled or redis)", {"sync": False, "kafka": True}),
        ):
            with self.subTest(policy, steps=steps):
                self.setUp()
                self.sent(b"1", policy=policy)
                self.dispatch()
                for step, is_acked in steps.items():
                    match step:
                        case "sync":
                            self.disk.sync()
                        case "fail":
                            self.disk.sync(FAILED)
                        case "refuse":
                            self.redis.answer(Rejected("no"))
                        case sink:
                            self.sinks[sink].answer()
                    self.assertEqual(self.link.sent, [acks("V", b"1")] if is_acked else [], step)

    def test_the_acks_of_a_sinks_batch_leave_in_one_write(self) -> None:
        session = self.sent(b"1", policy="spooled and redis")
        answers(session, [message("V", b"2")])
        self.disk.sync()
        self.disk.sync()
        self.dispatch()
        self.redis.answer()
        self.assertEqual(self.link.sent, [acks("V", b"1", b"2")])

    def test_a_full_sink_that_the_policy_needs_keeps_records_out_of_the_spool(self) -> None:
        """Otherwise what the vehicle sends again would fill the spool."""
        for policy, is_stored in (("spooled and redis", False), ("spooled or redis", True), ("spooled and kafka", True)):
            with self.subTest(policy):
                self.setUp()
                self.room["redis"] = 1
                session = self.sent(b"1", b"2", policy=policy)
                self.disk.sync()
                answers(session, [message("V", b"3")])
                self.assertEqual(len(self.disk.appends), is_stored)
                self.dispatch()
                self.kafka.answer()
                self.assertEqual(self.kafka.txids, [b"1", b"2", b"3"] if is_stored else [b"1", b"2"])
                self.assertEqual(self.value("lane_refused_total", "redis"), not is_stored)

    def test_settled_once_all_are_synced(self) -> None:
        for policy in ("spooled", "spooled or redis"):
            for failure in (None, FAILED):
                with self.subTest(policy, failure=failure):
                    self.setUp()
                    session = self.sent(b"1", policy=policy)
                    settled: list[int] = []
                    session.when_settled(lambda settled=settled: settled.append(len(self.link.sent)))
                    self.assertEqual(settled, [])
                    self.disk.sync(failure)
                    if failure is not None and policy != "spooled":
                        self.dispatch()
                        self.redis.answer(Rejected("no"))
                    self.assertEqual(settled, [0 if failure else 1])

    def test_a_vehicle_that_has_gone(self) -> None:
        session = self.sent(b"1")
        session.disconnected()
        self.disk.sync()
        self.assertEqual(self.link.sent, [])
        self.assertEqual(self.value("reliable_ack_miss", "V", "spooled"), 1)


class AlwaysTests(SpoolingCase):
    spools_all = True

    def test_accepted_acks_at_once_while_all_queues_have_room(self) -> None:
        session = self.session()
        self.assertEqual(answers(session, [message("V", b"1")]), acks("V", b"1"))
        self.assertEqual(len(self.disk.appends), 1)
        self.disk.sync()
        self.assertEqual(self.link.sent, [])

    def test_the_spool_is_the_room_of_a_full_queue(self) -> None:
        self.room["redis"] = 1
        session = self.session()
        self.assertEqual(answers(session, [message("V", b"1"), message("V", b"2")]), b"")
        self.disk.sync()
        self.assertEqual(self.link.sent, [acks("V", b"1", b"2")])
        self.deliver_all()
        self.assertEqual(self.redis.txids, [b"1", b"2"])

    def test_a_spool_that_takes_nothing_leaves_it_to_the_queues(self) -> None:
        self.room["redis"] = 1
        session = self.session()
        self.disk.refusal = FAILED
        self.assertEqual(answers(session, [message("V", b"1"), message("V", b"2")]), acks("V", b"1"))
        self.assertEqual(self.value("dispatch_total", "V"), 1)

    def test_policies_that_name_sinks_wait_for_these(self) -> None:
        for policy in ("kafka", "kafka and redis"):
            with self.subTest(policy):
                self.setUp()
                self.sent(b"1", policy=policy)
                self.disk.sync()
                self.dispatch()
                self.redis.answer()
                self.assertEqual(self.link.sent, [])
                self.kafka.answer()
                self.assertEqual(self.link.sent, [acks("V", b"1")])
                self.assertEqual(self.disk.cursors, {"kafka": 2, "redis": 2})

    def test_the_gateways_own_records(self) -> None:
        self.records = {"connectivity": ["kafka"]}
        self.room["kafka"] = 1
        session = self.session()
        session.disconnected()
        self.assertEqual(len(self.disk.appends), 2)
        self.disk.sync()
        self.disk.sync()
        self.deliver_all()
        self.assertEqual(len(self.kafka.records), 2)
        self.disk.refusal = FAILED
        self.gateway.connected(vehicle(), self.link)
        self.gateway.connected(vehicle(), self.link)
        dropped = {"vin": VIN, "dispatcher": "spooled", "status": ConnectivityStatus.CONNECTED.name}
        self.assertEqual(self.log.fields_of("connectivity_dropped"), [dropped])


class FeedTests(SpoolingCase):
    def test_a_full_lane_gets_the_rest_from_the_spool_in_order(self) -> None:
        self.room["redis"] = 2
        session = self.sent(b"1", b"2", b"3")
        answers(session, [message("V", b"4")])
        self.disk.sync()
        self.disk.sync()
        answers(session, [message("V", b"5")])
        self.disk.sync()
        self.assertEqual(self.value("lane_unread_positions", "redis"), 3)
        self.deliver_all()
        self.assertEqual(self.redis.txids, [b"1", b"2", b"3", b"4", b"5"])
        self.assertEqual(self.disk.cursors, {"kafka": 6, "redis": 6})
        self.assertEqual(self.value("lane_unread_positions", "redis"), 0)
        self.assertEqual(self.log.fields_of("sink_behind"), [{"dispatcher": "redis", "records": 1}])
        self.assertEqual(len(self.log.fields_of("sink_caught_up")), 1)

    def test_a_sink_that_has_caught_up_gets_records_at_once_again(self) -> None:
        self.test_a_full_lane_gets_the_rest_from_the_spool_in_order()
        answers(self.gateway.connected(vehicle(), self.link), [message("V", b"6")])
        self.dispatch()
        self.assertEqual(self.redis.txids[5:], [b"6"], "before it is synced")
        self.assertEqual(list(self.disk.reads), [])

    def test_under_steady_load_a_sink_that_has_caught_up_reads_nothing_any_more(self) -> None:
        """Something always waits for its sync then: the lane gets records as they are synced."""
        self.room["redis"] = 2
        session = self.sent(b"1", b"2", b"3")
        self.dispatch()
        self.redis.answer()
        for number in range(4, 10):
            answers(session, [message("V", b"%d" % number)])
            self.disk.sync()
            self.deliver_all_of_redis()
        self.assertEqual(self.redis.txids, [b"%d" % number for number in range(1, 9)])
        self.assertEqual(self.reads, 0)

    def deliver_all_of_redis(self) -> None:
        self.clock.advance(0)
        self.reads = len(self.disk.reads)
        self.dispatch()
        self.redis.answer()

    def test_after_a_kill_each_sink_gets_what_it_had_not_confirmed(self) -> None:
        self.sent(b"1", b"2", b"3")
        self.disk.sync()
        self.dispatch()
        self.kafka.answer()
        self.restart()
        self.deliver_all()
        self.assertEqual((self.kafka.txids, self.redis.txids), ([], [b"1", b"2", b"3"]))

    def test_new_records_follow_those_that_are_replayed(self) -> None:
        self.sent(b"1", b"2")
        self.disk.sync()
        session = self.restart()
        answers(session, [message("V", b"3")])
        self.dispatch()
        self.assertEqual(self.redis.txids, [])
        self.disk.sync()
        self.deliver_all()
        self.assertEqual(self.redis.txids, [b"1", b"2", b"3"])

    def test_a_retried_record_is_settled_once_it_is_delivered(self) -> None:
        self.sent(b"1", b"2")
        self.disk.sync()
        self.dispatch()
        self.redis.answer(Retryable("later"))
        self.assertEqual(self.disk.cursors["redis"], 1)
        self.clock.advance(1)
        self.deliver_all()
        self.assertEqual(self.disk.cursors["redis"], 3)

    def test_a_dead_letter_settles_its_record_and_is_logged_whole(self) -> None:
        for policy, resends in (("spooled", False), ("spooled or redis", False), ("spooled and redis", True)):
            with self.subTest(policy):
                self.setUp()
                self.sent(b"1", policy=policy)
                self.disk.sync()
                self.dispatch()
                self.redis.answer(Rejected("no"))
                self.assertEqual(self.disk.cursors["redis"], 2)
                (letter,) = self.log.fields_of("dead_letter")
                self.assertEqual(letter["vehicle_resends"], resends)
                self.assertEqual("payload_base64" in letter, not resends)

    def test_a_record_too_large_for_the_queue_is_a_dead_letter_and_holds_up_nothing(self) -> None:
        session = self.sent(b"1")
        payload = b"x" * 2_000_000
        huge = CODEC.connectivity(vehicle(), ConnectivityStatus.CONNECTED, NOW_NS)
        huge.record_type, huge.payload, huge.cost_bytes = "V", payload, len(payload)
        route = self.gateway.routes.find(b"V")
        assert route is not None
        assert route.spooled is not None
        self.deliver_all()
        route.metrics.record_total.add(1)
        route.spooled.accept([huge], huge.cost_bytes, session)
        answers(session, [message("V", b"2")])
        self.deliver_all()
        self.assertEqual(self.redis.txids, [b"1", b"2"])
        self.assertEqual([letter["dispatcher"] for letter in self.log.fields_of("dead_letter")], ["kafka", "redis"])
        self.assertIn("more than the sink's queue", str(self.log.fields_of("dead_letter")[0]["error"]))
        self.assertEqual(self.disk.cursors, {"kafka": 4, "redis": 4})

    def test_a_type_that_a_sink_does_not_take_holds_no_cursor_back(self) -> None:
        self.records = {"V": ["kafka"], "alerts": ["redis"]}
        session = self.session({"V": "spooled", "alerts": "spooled"})
        answers(session, [message("V", b"1"), message("alerts", b"2"), message("V", b"3")])
        self.deliver_all()
        self.assertEqual(self.disk.cursors, {"kafka": 4, "redis": 4})
        self.assertEqual((self.kafka.txids, self.redis.txids), ([b"1", b"3"], [b"2"]))

    def test_reading_is_tried_again_after_an_error(self) -> None:
        self.sent(b"1")
        self.disk.sync()
        self.restart()
        self.clock.advance(0)
        for _ in SINKS:
            self.disk.answer_read(FAILED)
        self.clock.advance(0.9)
        self.assertEqual(list(self.disk.reads), [])
        self.clock.advance(0.1)
        self.deliver_all()
        self.assertEqual(self.redis.txids, [b"1"])
        self.assertEqual(self.log.fields_of("spool_not_read")[0]["error"], "the disk fails")

    def test_records_that_could_not_be_synced_do_not_keep_a_sink_behind(self) -> None:
        self.room["redis"] = 1
        session = self.sent(b"1", b"2")
        self.dispatch()
        self.redis.answer()
        answers(session, [message("V", b"3")])
        self.disk.sync(FAILED)
        self.disk.sync(FAILED)
        self.deliver_all()
        answers(session, [message("V", b"4")])
        self.dispatch()
        self.assertEqual(self.redis.txids[-1:], [b"4"], "live again")

    def test_records_that_could_not_be_synced_while_a_sink_was_full_do_not_keep_it_behind(self) -> None:
        self.room["redis"] = 1
        session = self.sent(b"1", b"2")
        self.disk.sync()
        answers(session, [message("V", b"3")])
        self.disk.sync(FAILED)
        self.deliver_all()
        self.assertEqual(self.redis.txids, [b"1", b"2"])
        answers(session, [message("V", b"4")])
        self.dispatch()
        self.assertEqual(self.redis.txids[-1:], [b"4"], "live again")


class StopTests(SpoolingCase):
    def test_what_is_not_delivered_stays_in_the_spool_and_is_no_dead_letter(self) -> None:
        self.room["redis"] = 2
        self.sent(b"1", b"2", b"3")
        self.dispatch()
        self.kafka.answer()
        self.stop()
        self.assertEqual(self.log.fields_of("dead_letter"), [])
        self.assertEqual(self.link.sent, [acks("V", b"1", b"2", b"3")], "synced by the stop")
        self.restart()
        self.deliver_all()
        self.assertEqual((self.kafka.txids, self.redis.txids), ([], [b"1", b"2", b"3"]))

    def test_a_record_that_the_stop_cannot_sync_is_a_dead_letter(self) -> None:
        self.spools_all = True
        session = self.session()
        self.assertEqual(answers(session, [message("V", b"1")]), acks("V", b"1"))
        self.disk.sync(FAILED)
        self.stop()
        self.assertEqual([letter["vehicle_resends"] for letter in self.log.fields_of("dead_letter")], [False, False])
        self.lost = 2

    def test_what_vehicles_send_again_is_no_dead_letter_of_the_stop(self) -> None:
        for policy in ("spooled", "spooled and redis"):
            for is_taken in (False, True):
                with self.subTest(policy, is_taken=is_taken):
                    self.setUp()
                    self.disk.refusal = None if is_taken else FAILED
                    self.sent(b"1", policy=policy)
                    if is_taken:
                        self.disk.sync(FAILED)
                    self.stop()
                    self.assertEqual(self.log.fields_of("dead_letter"), [])
                    assert_balanced(self.metrics)

    def test_the_last_outcomes_count(self) -> None:
        self.sent(b"1")
        self.disk.sync()
        self.dispatch()
        assert self.spooling is not None
        self.spooling.pause()
        for lane in self.lanes.values():
            lane.close()
        self.redis.answer(RECEIPT)
        self.kafka.answer(Rejected("no"))
        self.assertEqual(self.disk.cursors, {"kafka": 2, "redis": 2})

    def test_nothing_is_read_once_the_gateway_stops(self) -> None:
        self.sent(b"1")
        self.disk.sync()
        self.restart()
        self.clock.advance(0)
        assert self.spooling is not None
        self.spooling.pause()
        self.read_all()
        self.dispatch()
        self.assertEqual(self.redis.txids, [])
        self.assertEqual(self.lanes["redis"].held_records, 0)

    def stop(self) -> None:
        """End in the order of ``GatewayLife``."""
        assert self.spooling is not None
        self.spooling.pause()
        for lane in self.lanes.values():
            lane.close()
        self.spooling.stop()
        for lane in self.lanes.values():
            lane.abandon()
