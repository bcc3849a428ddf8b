"""Ack policies of several sinks: when records are acknowledged, and the dead letters that are the last copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from fleetgw.domain.ack_expressions import read_policy
from fleetgw.domain.acks import Accepted, holds
from fleetgw.domain.errors import Rejected, Retryable
from fleetgw.domain.ports import RECEIPT
from tests.support.session_case import RecordingSink, SessionCase, acks, answers, message

if TYPE_CHECKING:
    from fleetgw.app.pipeline.session import Session

SINKS = ("kafka", "mqtt", "redis")
POLICY = "kafka and (mqtt or redis)"


class PolicyCase(SessionCase):
    """A gateway that routes ``V`` to kafka, mqtt and redis."""

    def setUp(self) -> None:
        super().setUp()
        self.sinks = {name: RecordingSink(name) for name in SINKS}
        self.kafka, self.mqtt, self.redis = self.sinks.values()
        self.room = dict.fromkeys(SINKS, 1000)
        self.records = {"V": SINKS}

    def sent(self, *txids: bytes, policy: str = POLICY) -> Session:
        """A session that has received these records in one read, which the sinks now have."""
        session = self.session({"V": policy})
        self.assertEqual(answers(session, [message("V", txid) for txid in txids]), b"")
        self.dispatch()
        return session

    def letters(self) -> list[object]:
        """Whether the vehicle resends each dead letter, oldest first."""
        return [letter["vehicle_resends"] for letter in self.log.fields_of("dead_letter")]


class AckPolicyTests(PolicyCase):
    def test_acked_once_the_condition_holds_and_only_then(self) -> None:
        self.sent(b"1")
        self.mqtt.answer()
        self.redis.answer()
        self.assertEqual(self.link.sent, [])
        self.kafka.answer()
        self.assertEqual(self.link.sent, [acks("V", b"1")])

    def test_acked_once(self) -> None:
        self.sent(b"1", policy="any")
        for sink in self.sinks.values():
            sink.answer()
        self.assertEqual(self.link.sent, [acks("V", b"1")])

    def test_the_acks_of_a_batch_leave_in_one_write(self) -> None:
        session = self.session({"V": POLICY})
        for txid in (b"1", b"2", b"3"):
            answers(session, [message("V", txid)])
        self.dispatch()
        self.kafka.answer()
        self.redis.answer()
        self.assertEqual(self.link.sent, [acks("V", b"1", b"2", b"3")])

    def test_a_full_queue_withholds_the_ack_where_the_condition_needs_its_sink(self) -> None:
        for full, policy, acked, refused in (
            ("redis", POLICY, [b"1", b"2"], 1),
            ("kafka", POLICY, [b"1"], 0),
            ("redis", "all", [b"1"], 0),
            ("redis", "any", [b"1", b"2"], 1),
            ("redis", "kafka and mqtt", [b"1", b"2"], 1),
        ):
            with self.subTest(full=full, policy=policy):
                self.setUp()
                self.room[full] = 1
                self.sent(b"1", b"2", policy=policy)
                for sink in self.sinks.values():
                    sink.answer()
                self.assertEqual(b"".join(self.link.sent), acks("V", *acked))
                self.assertEqual(self.value("lane_refused_total", full), refused)
                self.assertEqual(self.link.is_paused, not refused)

    def test_a_refusal_withholds_the_ack_where_the_condition_needs_its_sink(self) -> None:
        self.sent(b"1")
        self.redis.answer(Rejected("no"))
        self.kafka.answer()
        self.assertEqual(self.link.sent, [])
        self.mqtt.answer()
        self.assertEqual(self.link.sent, [acks("V", b"1")])

    def test_a_dead_letter_whose_record_may_be_acked_has_its_payload(self) -> None:
        self.sent(b"1")
        self.redis.answer(Rejected("no"))
        self.assertEqual(self.letters(), [False], "mqtt may still have it acknowledged")
        self.mqtt.answer(Rejected("no"))
        self.assertEqual(self.letters(), [False, True])
        self.kafka.answer(Rejected("no"))
        self.assertEqual(self.letters(), [False, True, True])
        self.assertEqual(self.link.sent, [])

    def test_a_dead_letter_of_an_acked_record_has_its_payload(self) -> None:
        self.sent(b"1", policy="any")
        self.kafka.answer()
        self.mqtt.answer(Rejected("no"))
        self.redis.answer(Rejected("no"))
        self.assertEqual(self.letters(), [False, False])
        self.assertTrue(all("payload_base64" in letter for letter in self.log.fields_of("dead_letter")))

    def test_a_queue_that_is_given_up(self) -> None:
        self.sent(b"1", b"2", policy="kafka or mqtt")
        for lane in self.lanes.values():
            lane.close()
        for name in ("redis", "kafka", "mqtt"):
            self.lanes[name].abandon()
        self.assertEqual(self.letters(), [False] * 4, "redis: never awaited; kafka: mqtt might have confirmed")
        self.lost = 4

    def test_a_retry_settles_nothing(self) -> None:
        self.sent(b"1", policy="all")
        for sink in (self.kafka, self.mqtt):
            sink.answer()
        self.redis.answer(Retryable("busy"))
        self.assertEqual(self.link.sent, [])
        self.clock.advance(1)
        self.redis.answer()
        self.assertEqual(self.link.sent, [acks("V", b"1")])

    def test_counted_for_the_sink_that_made_the_ack_due(self) -> None:
        session = self.sent(b"1", b"2")
        self.kafka.answer()
        self.redis.answer()
        self.mqtt.answer()
        self.assertEqual([self.value("reliable_ack", "V", sink) for sink in SINKS], [0, 0, 2])
        self.assertEqual(self.value("redis_reliable_ack_total", "V"), 2)
        answers(session, [message("V", b"3")])
        session.disconnected()
        self.dispatch()
        self.redis.answer()
        self.kafka.answer()
        self.assertEqual([self.value("reliable_ack_miss", "V", sink) for sink in SINKS], [1, 0, 0])

    def test_nothing_is_kept_of_settled_records(self) -> None:
        session = self.sent(b"1", b"2", policy="any")
        self.room["kafka"] = 0
        for sink in self.sinks.values():
            sink.answer()
        self.assertEqual([tickets._tickets for tickets in session._tickets.values()], [{}])

    @settings(max_examples=200)
    @given(
        policy=st.sampled_from(["all", "any", POLICY, "kafka or mqtt and redis", "(kafka or mqtt) and (redis or mqtt)"]),
        room=st.tuples(*[st.integers(0, 4)] * 3),
        settled=st.lists(st.tuples(st.sampled_from(SINKS), st.booleans()), max_size=6),
        reads=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    )
    def test_a_record_is_acked_exactly_when_its_policy_holds(
        self, policy: str, room: tuple[int, ...], settled: list[tuple[str, bool]], reads: list[int]
    ) -> None:
        self.setUp()
        self.room = dict(zip(SINKS, room, strict=True))
        session = self.session({"V": policy})
        for number, count in enumerate(reads):
            answers(session, [message("V", b"%d%d" % (number, each)) for each in range(count)])
        self.dispatch()
        condition = read_policy(policy, SINKS)
        assert not isinstance(condition, Accepted)
        has = {name: set(sink.txids) for name, sink in self.sinks.items()}
        confirmed: dict[str, set[bytes]] = {name: set() for name in SINKS}
        open_sinks = set(SINKS)
        for name, takes in settled:
            self.sinks[name].answer(RECEIPT if takes else Rejected("no"))
            if name in open_sinks and takes:
                confirmed[name] = has[name]
            open_sinks.discard(name)
        for txid in set().union(*has.values()):
            due = holds(condition, {name for name in SINKS if txid in confirmed[name]})
            self.assertEqual(b"".join(self.link.sent).count(acks("V", txid)), due, txid)
        if not open_sinks:
            (tickets,) = session._tickets.values()
            session.disconnected()
            self.assertEqual(tickets._tickets, {})
