"""Backpressure: a full lane stops the reading of a vehicle whose records need it, until it has room."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any
from weakref import ref

from fleetgw.domain.errors import Rejected
from tests.pipeline.test_ack_policies import PolicyCase
from tests.support.recording_link import Link
from tests.support.session_case import SessionCase, acks, answers, error, message, vehicle

if TYPE_CHECKING:
    from fleetgw.app.pipeline.session import Session
    from tests.support.session_case import RecordingSink


class AcceptedTests(SessionCase):
    """Policy ``accepted``: every lane of the type pushes back."""

    def setUp(self) -> None:
        super().setUp()
        self.room["kafka"] = 2

    def settle(self, sink: RecordingSink | None = None) -> None:
        """Dispatch, confirm all, and let those that wait for room have it."""
        self.dispatch()
        (sink or self.kafka).answer()
        self.clock.advance(0)

    def filled(self, *txids: bytes, **how: Any) -> Session:  # as ``session`` takes it
        """A session whose first read fills the queue of kafka, and leaves the records after the second waiting."""
        session = self.session(**how)
        self.assertEqual(answers(session, [message("V", txid) for txid in (b"1", b"2", *txids)]), acks("V", b"1", b"2"))
        return session

    def test_reading_stops_while_records_wait_and_goes_on_once_they_are_placed(self) -> None:
        self.filled(b"3", b"4", b"5")
        self.assertTrue(self.link.is_paused)
        self.settle()
        self.assertEqual(self.link.sent, [acks("V", b"3", b"4")])
        self.assertTrue(self.link.is_paused)
        self.settle()
        self.assertEqual(self.link.sent[1:], [acks("V", b"5")])
        self.assertFalse(self.link.is_paused)
        self.settle()
        self.assertEqual(self.kafka.txids, [b"1", b"2", b"3", b"4", b"5"])
        self.assertEqual(self.value("lane_refused_total", "kafka"), 0)
        self.assertEqual(self.value("dispatch_total", "V"), 5)

    def test_a_queue_that_is_exactly_full_stops_nobody(self) -> None:
        self.filled()
        self.assertFalse(self.link.is_paused)

    def test_paused_vehicles_are_counted_and_one_is_logged(self) -> None:
        gateway = self.make()
        links = [Link() for _ in range(3)]
        sessions = [gateway.connected(vehicle(f"VIN{number}"), link) for number, link in enumerate(links)]
        for session in sessions:
            session.received([message("V", b"%d" % number) for number in range(3)])
        self.assertEqual([link.is_paused for link in links], [True] * 3)
        self.assertEqual(self.value("vehicles_paused"), 3)
        self.assertEqual(
            self.log.fields_of("reading_paused"),
            [{"vin": "VIN0", "record_type": "V", "dispatchers": ["kafka"], "vehicles_paused": 1}],
        )
        sessions[2].disconnected()
        self.assertEqual(self.value("vehicles_paused"), 2)
        for _ in range(5):
            self.settle()
        self.assertEqual((self.value("vehicles_paused"), [link.is_paused for link in links[:2]]), (0, [False] * 2))

    def test_only_lanes_that_have_not_taken_a_record_are_offered_it_again(self) -> None:
        self.records = {"V": ["kafka", "logger"]}
        self.room["logger"] = 4
        self.filled(b"3", b"4", b"5")
        self.settle()
        self.assertEqual(self.link.sent, [acks("V", b"3", b"4")])
        self.settle()
        self.assertTrue(self.link.is_paused, "the other lane has not taken the last one")
        self.settle(self.logger)
        self.assertFalse(self.link.is_paused)
        self.settle(self.logger)
        self.assertEqual(self.kafka.txids, [b"1", b"2", b"3", b"4", b"5"])
        self.assertEqual(self.logger.txids, self.kafka.txids)
        self.assertEqual(self.link.sent[1:], [acks("V", b"5")])

    def test_later_records_of_the_read_wait_behind_and_errors_are_answered_at_once(self) -> None:
        self.records = {"V": ["kafka"], "alerts": ["logger"]}
        session = self.session()
        messages = [
            *(message("V", txid) for txid in (b"1", b"2", b"3")),
            message("alerts", b"4"),
            b"\xff" * 9,
            message("unrouted", b"5"),
            message("V", b"6"),
        ]
        self.assertEqual(answers(session, messages), acks("V", b"1", b"2") + error() + acks("unrouted", b"5"))
        self.settle()
        self.assertEqual(self.link.sent, [acks("V", b"3"), acks("alerts", b"4"), acks("V", b"6")])
        self.assertFalse(self.link.is_paused)
        self.settle()
        self.assertEqual((self.kafka.txids, self.logger.txids), ([b"1", b"2", b"3", b"6"], [b"4"]))

    def test_a_run_that_waits_behind_another_may_wait_itself(self) -> None:
        self.records = {"V": ["kafka"], "alerts": ["logger"]}
        self.room["logger"] = 1
        session = self.session()
        answers(
            session,
            [message("V", b"1"), message("V", b"2"), message("V", b"3"), message("alerts", b"4"), message("alerts", b"5")],
        )
        self.settle()
        self.assertEqual(self.link.sent, [acks("V", b"3"), acks("alerts", b"4")])
        self.assertTrue(self.link.is_paused)
        self.settle(self.logger)
        self.assertEqual(self.link.sent[2:], [acks("alerts", b"5")])
        self.assertFalse(self.link.is_paused)
        self.assertEqual(len(self.log.fields_of("reading_paused")), 1, "paused twice")

    def test_vehicles_get_room_in_the_order_in_which_they_came(self) -> None:
        self.room["kafka"] = 1
        gateway = self.make()
        for number in range(5):
            gateway.connected(vehicle(f"VIN{number}"), Link()).received([message("V", b"%d" % number)])
        for _ in range(5):
            self.settle()
        self.assertEqual(self.kafka.txids, [b"0", b"1", b"2", b"3", b"4"])

    def test_all_connections_of_a_vehicle_wait_so_that_its_records_stay_in_order(self) -> None:
        first = self.filled(b"3")
        links = [Link(), Link()]
        second, third = (self.gateway.connected(vehicle(), link) for link in links)
        second.received([message("V", b"4"), message("alerts", b"5")])
        third.received([message("V", b"6")])
        self.assertEqual([link.is_paused for link in (self.link, *links)], [True] * 3)
        self.assertEqual(self.value("vehicles_paused"), 1)
        second.received([b"\xff" * 9])
        self.assertEqual(links[0].sent, [error()])
        self.settle()
        self.assertEqual((self.link.is_paused, links[0].is_paused), (False, True))
        first.received([message("V", b"7")])
        self.assertTrue(self.link.is_paused, "it has overtaken the others")
        for _ in range(4):
            self.settle()
        self.assertEqual(self.kafka.txids, [b"1", b"2", b"3", b"4", b"5", b"6", b"7"])
        self.assertEqual(links[0].sent[1:] + links[1].sent, [acks("V", b"4"), acks("alerts", b"5"), acks("V", b"6")])
        self.assertEqual([link.is_paused for link in (self.link, *links)], [False] * 3)

    def test_a_connection_that_ends_is_not_waited_for(self) -> None:
        first = self.filled(b"3")
        links = [Link(), Link()]
        second, third = (self.gateway.connected(vehicle(), link) for link in links)
        second.received([message("V", b"4")])
        third.received([message("V", b"5")])
        second.disconnected()
        first.disconnected()
        self.assertEqual(self.value("vehicles_paused"), 1)
        self.settle()
        self.assertEqual((links[1].sent, self.value("vehicles_paused")), ([acks("V", b"5")], 0))
        self.settle()
        self.assertEqual(self.kafka.txids, [b"1", b"2", b"5"])

    def test_a_record_that_never_fits_stops_nobody(self) -> None:
        session = self.session(max_message_bytes=10_000_000)
        big = message("custom", b"big", bytes(1_000_001))
        self.assertEqual(answers(session, [big, message("custom", b"1")]), acks("custom", b"1"))
        self.assertFalse(self.link.is_paused)
        self.assertEqual(self.value("lane_refused_total", "kafka"), 1)
        answers(session, [message("custom", b"2"), message("custom", b"3"), big, message("custom", b"4")])
        self.assertTrue(self.link.is_paused)
        self.settle()
        self.assertFalse(self.link.is_paused)
        self.settle()
        self.assertEqual(self.kafka.txids, [b"1", b"2", b"3", b"4"])
        self.assertEqual(self.value("lane_refused_total", "kafka"), 2)

    def test_what_waits_is_forgotten_when_the_vehicle_leaves(self) -> None:
        session = self.session()
        answers(session, [*(message("V", b"%d" % number) for number in range(4)), message("alerts", b"4")])
        session.disconnected()
        self.assertEqual(self.value("vehicles_paused"), 0)
        self.assertEqual(self.value("lane_refused_total", "kafka"), 3)
        self.settle()
        self.settle()
        self.assertEqual((self.kafka.txids, self.link.sent), ([b"0", b"1"], []))

    def test_nothing_keeps_a_session_that_has_left(self) -> None:
        """The queue may be full for hours, while vehicles come and go."""
        session = self.filled(b"3", b"4")
        session.disconnected()
        gone = ref(session)
        gc.disable()
        self.addCleanup(gc.enable)
        del session
        self.assertIsNone(gone())

    def test_a_closed_lane_makes_nobody_wait(self) -> None:
        session = self.filled(b"3")
        self.lanes["kafka"].close()
        self.assertEqual((self.link.sent, self.link.is_paused), ([], False))
        self.assertEqual(answers(session, [message("V", b"4")]), b"")
        self.assertFalse(self.link.is_paused)
        self.assertEqual(self.value("lane_refused_total", "kafka"), 2)

    def test_a_greedy_vehicle_is_paused_and_others_are_not(self) -> None:
        self.room["kafka"] = 12
        gateway = self.make()
        greedy_link, other_link = Link(), Link()
        greedy, other = gateway.connected(vehicle("GREEDY"), greedy_link), gateway.connected(vehicle("OTHER"), other_link)
        greedy.received([message("V", b"%d" % number) for number in range(10)])
        self.assertTrue(greedy_link.is_paused)
        other.received([message("V", b"other")])
        self.assertEqual((other_link.sent, other_link.is_paused), ([acks("V", b"other")], False))
        self.settle()
        self.assertFalse(greedy_link.is_paused)
        self.settle()
        self.assertEqual([txid for txid in self.kafka.txids if txid != b"other"], [b"%d" % number for number in range(10)])


class PolicyTests(PolicyCase):
    """Policies that name sinks: only lanes push back without which the policy cannot hold."""

    def received(self, policy: str, **room: int) -> Session:
        """A session that has received the records 1 to 3, with these queues of one record each."""
        self.setUp()
        self.room.update(room)
        session = self.session({"V": policy})
        answers(session, [message("V", txid) for txid in (b"1", b"2", b"3")])
        return session

    def settle(self, *sinks: RecordingSink) -> None:
        """Dispatch, have sinks confirm, and let those that wait for room have it."""
        self.dispatch()
        for sink in sinks:
            sink.answer()
        self.clock.advance(0)

    def test_only_lanes_push_back_that_the_policy_cannot_do_without(self) -> None:
        for policy, full, pauses in (
            ("kafka", ["kafka"], True),
            ("kafka", ["mqtt", "redis"], False),
            ("kafka and (mqtt or redis)", ["redis"], False),
            ("kafka and (mqtt or redis)", ["kafka"], True),
            ("kafka and (mqtt or redis)", ["mqtt", "redis"], True),
            ("any", ["kafka", "mqtt"], False),
            ("any", ["kafka", "mqtt", "redis"], True),
            ("all", ["redis"], True),
            ("kafka and mqtt", ["redis"], False),
        ):
            with self.subTest(policy=policy, full=full):
                self.received(policy, **dict.fromkeys(full, 1))
                self.assertEqual(self.link.is_paused, pauses)
                refused = [self.value("lane_refused_total", name) for name in self.sinks]
                self.assertEqual(refused, [2 * (name in full and not pauses) for name in self.sinks])

    def test_either_of_two_sinks_ends_the_wait(self) -> None:
        for name in ("mqtt", "redis"):
            with self.subTest(name):
                self.received("kafka and (mqtt or redis)", mqtt=1, redis=1)
                for _ in range(2):
                    self.assertTrue(self.link.is_paused)
                    self.settle(self.kafka, self.sinks[name])
                self.assertFalse(self.link.is_paused)
                self.settle(self.sinks[name])
                self.assertEqual(self.link.sent, [acks("V", txid) for txid in (b"1", b"2", b"3")])
                self.assertEqual(self.kafka.txids, [b"1", b"2", b"3"])
                other = "redis" if name == "mqtt" else "mqtt"
                self.assertEqual([self.value("lane_refused_total", each) for each in (name, other)], [0, 2])

    def test_records_that_wait_are_acked_once_their_policy_holds(self) -> None:
        self.received("all", kafka=1)
        for number in range(1, 4):
            self.settle(self.mqtt, self.redis)
            self.assertEqual(len(self.link.sent), number - 1)
            self.settle(self.kafka)
        self.assertEqual(self.link.sent, [acks("V", txid) for txid in (b"1", b"2", b"3")])
        for sink in self.sinks.values():
            self.assertEqual(sink.txids, [b"1", b"2", b"3"])

    def test_a_sink_that_need_not_confirm_gets_what_waits_too(self) -> None:
        self.received("kafka", kafka=1, redis=2)
        self.settle(self.kafka, self.redis)
        self.settle(self.kafka, self.redis)
        self.settle(self.kafka)
        self.assertEqual((self.kafka.txids, self.redis.txids), ([b"1", b"2", b"3"],) * 2)
        self.assertEqual(self.link.sent, [acks("V", txid) for txid in (b"1", b"2", b"3")])

    def test_a_dead_letter_of_a_record_that_was_forgotten_is_sent_again_by_the_vehicle(self) -> None:
        session = self.received("kafka and (mqtt or redis)", kafka=1)
        (tickets,) = session._tickets.values()
        session.disconnected()
        self.dispatch()
        self.mqtt.answer(Rejected("no"))
        self.assertEqual(self.letters(), [False, True, True])
        self.kafka.answer()
        self.redis.answer()
        self.assertEqual((tickets._tickets, self.link.sent), ({}, []))
