"""Routes and settings that are replaced while vehicles are connected."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fleetgw.app.pipeline.connected import RateLimit
from fleetgw.app.pipeline.gateway import GatewaySettings
from fleetgw.domain.ack_expressions import read_policy
from fleetgw.domain.acks import Accepted, holds
from fleetgw.domain.errors import Rejected
from fleetgw.domain.ports import RECEIPT
from tests.support.recording_link import Link
from tests.support.session_case import CODEC, V_PAYLOAD, RecordingSink, SessionCase, acks, answers, error, message, vehicle


class RoutesTests(SessionCase):
    def use(self, policies: dict[str, str], **records: list[str]) -> None:
        """Replace the routes."""
        self.records = records
        self.gateway.routes.use(self.routes(policies), self.lanes)

    def test_the_next_read_goes_to_the_new_lanes(self) -> None:
        session = self.session({"V": "kafka"})
        answers(session, [message("V", b"1")])
        self.use({}, V=["logger"])
        self.assertEqual(answers(session, [message("V", b"2")]), acks("V", b"2"))
        self.dispatch()
        self.assertEqual((self.kafka.txids, self.logger.txids), ([b"1"], [b"2"]))
        self.link.sent.clear()
        self.kafka.answer(RECEIPT)
        self.assertEqual(b"".join(self.link.sent), acks("V", b"1"), "it settles as its old route said")

    def test_records_of_an_old_policy_settle_under_it(self) -> None:
        self.records = {"V": ["kafka", "logger"]}
        session = self.session({"V": "all"})
        answers(session, [message("V", b"1")])
        self.use({"V": "any"}, V=["kafka", "logger"])
        answers(session, [message("V", b"2")])
        self.dispatch()
        self.link.sent.clear()
        self.kafka.answer(RECEIPT)
        self.assertEqual(b"".join(self.link.sent), acks("V", b"2"))
        self.logger.answer(RECEIPT)
        self.assertEqual(b"".join(self.link.sent), acks("V", b"2") + acks("V", b"1"))

    def test_a_session_that_stops_waits_for_the_records_of_old_policies(self) -> None:
        self.records = {"V": ["kafka", "logger"]}
        session = self.session({"V": "all"})
        answers(session, [message("V", b"1")])
        self.use({}, V=["logger"])
        settled: list[bool] = []
        session.when_settled(lambda: settled.append(True))
        self.dispatch()
        self.logger.answer(RECEIPT)
        self.assertEqual(settled, [])
        self.kafka.answer(Rejected("no"))
        self.assertEqual(settled, [True])

    def test_settled_tickets_of_old_policies_are_dropped(self) -> None:
        self.records = {"V": ["kafka", "logger"]}
        session = self.session({"V": "all"})
        for number in range(5):
            answers(session, [message("V", b"%d" % number)])
            self.dispatch()
            for sink in (self.kafka, self.logger):
                sink.answer(RECEIPT)
            self.use({"V": "all"}, V=["kafka", "logger"])
        self.assertEqual(len(session._tickets), 1)

    def test_a_type_that_is_routed_no_more_is_unrouted_and_keeps_its_metrics(self) -> None:
        session = self.session()
        answers(session, [message("V", b"1", V_PAYLOAD)])
        self.use({}, alerts=["logger"])
        self.assertEqual(answers(session, [message("V", b"2", V_PAYLOAD)]), acks("V", b"2"))
        self.assertEqual(self.value("unrouted_records_total", "V"), 1)
        self.assertEqual(self.value("record_total", "V"), 2)
        self.assertEqual(self.value("signal_count", "V"), 4)


SINKS = ("kafka", "logger", "redis")
POLICIES = ("accepted", "any", "all", *SINKS)


@st.composite
def routes(draw: st.DrawFn) -> tuple[list[str], str]:
    """Sinks, and a policy over them."""
    sinks = draw(st.lists(st.sampled_from(SINKS), min_size=1, unique=True))
    return sinks, draw(st.sampled_from([each for each in POLICIES if each not in SINKS or each in sinks]))


class RandomRoutesTests(SessionCase):
    @given(
        st.lists(
            st.one_of(routes(), st.integers(1, 5), st.sampled_from(SINKS), st.just(None)), min_size=5, max_size=40
        ).filter(lambda steps: any(isinstance(step, int) for step in steps))
    )
    def test_every_record_goes_to_the_sinks_and_is_acked_by_the_policy_of_its_receipt(
        self, steps: list[tuple[list[str], str] | int | str | None]
    ) -> None:
        """Steps: other routes, a read of so many records, a sink that confirms, and time that passes."""
        self.setUp()
        self.sinks = {name: RecordingSink(name) for name in SINKS}
        self.room = dict.fromkeys(SINKS, 1000)
        self.records, policy = {"V": ["kafka"]}, "kafka"
        session = self.session({"V": policy})
        received: dict[bytes, tuple[tuple[str, ...], str]] = {}
        confirmed: dict[str, set[bytes]] = {name: set() for name in SINKS}

        def confirm(name: str) -> None:
            self.sinks[name].answer()
            confirmed[name] |= set(self.sinks[name].txids)

        for step in [*steps, None, *SINKS]:
            match step:
                case int(count):
                    txids = [b"%d" % (len(received) + number) for number in range(count)]
                    received |= dict.fromkeys(txids, (tuple(self.records["V"]), policy))
                    session.received([message("V", txid) for txid in txids])
                case (sinks, policy):
                    self.records = {"V": sinks}
                    self.gateway.routes.use(self.routes({"V": policy}), self.lanes)
                case None:
                    self.dispatch()
                case str(name):
                    confirm(name)
            acked = b"".join(self.link.sent)
            for txid, (sinks_then, policy_then) in received.items():
                condition = read_policy(policy_then, sinks_then)
                confirming = {name for name in SINKS if txid in confirmed[name]}
                due = isinstance(condition, Accepted) or holds(condition, confirming)
                self.assertEqual(acked.count(acks("V", txid)), due, (txid, sinks_then, policy_then))
        for name, sink in self.sinks.items():
            self.assertEqual(sink.txids, [txid for txid, (sinks_then, _) in received.items() if name in sinks_then])


class SettingsTests(SessionCase):
    def use(self, **changes: object) -> None:
        """Replace the settings."""
        self.gateway.use(GatewaySettings(**{"codec": CODEC, "max_message_bytes": 10_000} | changes))  # type: ignore[arg-type]

    def test_a_rate_limit_for_vehicles_that_are_connected(self) -> None:
        session = self.session()
        self.use(rate_limit=RateLimit(1, 60))
        self.assertEqual(answers(session, [message("V", b"1"), message("V", b"2")]), acks("V", b"1"))
        self.use()
        self.assertEqual(answers(session, [message("V", b"3"), message("V", b"4")]), acks("V", b"3", b"4"))

    def test_a_higher_limit_gives_nothing_for_free_and_a_lower_one_takes_nothing(self) -> None:
        session = self.session(rate_limit=RateLimit(2, 60))
        answers(session, [message("V", b"1")])
        self.use(rate_limit=RateLimit(10, 60))
        self.assertEqual(answers(session, [message("V", b"2"), message("V", b"3")]), acks("V", b"2"))
        self.clock.advance(6)
        self.assertEqual(answers(session, [message("V", b"4"), message("V", b"5")]), acks("V", b"4"))
        self.clock.advance(60)
        self.use(rate_limit=RateLimit(1, 60))
        self.assertEqual(answers(session, [message("V", b"6"), message("V", b"7")]), acks("V", b"6"))

    def test_the_same_settings_leave_the_buckets_alone(self) -> None:
        session = self.session(rate_limit=RateLimit(1, 60))
        answers(session, [message("V", b"1")])
        self.use(rate_limit=RateLimit(1, 60))
        self.assertEqual(answers(session, [message("V", b"2")]), b"")

    def test_sizes_unrouted_types_and_tracked_vehicles(self) -> None:
        session = self.session()
        self.assertEqual(answers(session, [message("none", b"1")]), acks("none", b"1"))
        self.use(refuse_unrouted=True, max_message_bytes=300, tracked_vins=frozenset([session.vehicle.vin]))
        self.assertEqual(answers(session, [message("none", b"2")]), error(b"2"))
        self.assertNotIn(b"3", answers(session, [message("V", b"3", b"x" * 300)]))
        answers(session, [message("V", b"4", V_PAYLOAD)])
        self.assertEqual(self.value("vin_signal_count", "V", session.vehicle.vin), 2)

    def test_disconnects_are_held_back_from_now_on(self) -> None:
        self.records = {"connectivity": ["logger"]}
        gateway = self.make()
        first = gateway.connected(vehicle(), Link())
        self.use(debounce_s=60)
        first.disconnected()
        self.dispatch()
        self.assertEqual(len(self.logger.txids), 1, "CONNECTED alone")
