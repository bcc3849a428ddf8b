"""The states of the connection, and events at unusual moments."""

from collections.abc import Sequence

from fleetgw.domain.errors import NotConnected
from fleetgw.domain.ports import RECEIPT, NotReady, Outcome, Ready
from tests.sinks.mqtt.test_unit_sink import VIN, MqttCase
from tests.support.mqtt.harness import make_mqtt_record


class ConnectionTests(MqttCase):
    def test_dispatches_fail_before_start_and_after_stop(self) -> None:
        sink = self.make()
        (before,) = self.successResultOf(sink.dispatch([make_mqtt_record(VIN)]))
        self.assertEqual(str(before), "the mqtt sink is not running")
        self.assertEqual(sink.reload(), [])
        self.successResultOf(sink.stop())
        (after,) = self.successResultOf(sink.dispatch([make_mqtt_record(VIN)]))
        self.assertEqual(str(after), "the mqtt sink is not running")
        self.assertEqual(sink.readiness(), NotReady("stopped"))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_a_dispatch_from_the_answer_of_a_lost_session_fails_at_once(self) -> None:
        """The connection has changed its state before, so that the dispatch shortens the pause."""
        sink = self.started(connect_retry_interval_ms=600_000)
        self.broker.holding = True
        again: list[Sequence[Outcome]] = []

        def dispatch_again(outcomes: Sequence[Outcome]) -> None:
            again.append(outcomes)
            if len(again) < 3:
                sink.dispatch([make_mqtt_record(VIN)]).addCallback(dispatch_again)

        sink.dispatch([make_mqtt_record(VIN)]).addCallback(dispatch_again)
        self.advance(0.01)
        self.broker.go_away()
        self.assertEqual([type(outcome) for outcomes in again for outcome in outcomes], [NotConnected] * 3)
        self.broker.away = self.broker.holding = False
        self.advance(1.1)
        self.assertEqual(sink.readiness(), Ready())
        self.assertEqual(self.dispatch(sink, make_mqtt_record(VIN)), [RECEIPT])

    def test_a_stop_while_connecting_sends_the_records_that_wait(self) -> None:
        sink = self.make()
        self.successResultOf(sink.start())
        answer = sink.dispatch([make_mqtt_record(VIN)])
        stopped = sink.stop()
        self.advance(0.1)
        self.assertEqual(self.successResultOf(answer), [RECEIPT])
        self.successResultOf(stopped)
        self.assertEqual(sink.readiness(), NotReady("stopped"))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_each_change_of_readiness_is_logged_once(self) -> None:
        sink = self.started()
        self.assertEqual(self.log.fields_of("sink_ready"), [{"dispatcher": "mqtt"}])
        self.broker.go_away()
        self.advance(3)
        (lost,) = self.log.fields_of("sink_not_ready")
        self.assertEqual(lost["dispatcher"], "mqtt")
        self.assertIn("b.example:1883: the connection was lost", str(lost["error"]))
        self.broker.away = False
        self.advance(11)
        self.assertEqual(len(self.log.fields_of("sink_ready")), 2)
        sink.stop()
        self.advance(0.1)
        self.assertEqual(len(self.log.fields_of("sink_not_ready")), 1, "stopping is not logged")

    def test_reload_and_dispatch_work_in_every_state(self) -> None:
        sink = self.make(disconnect_timeout_ms=1000)
        self.broker.holding = True

        def disturb() -> None:
            sink.reload()
            sink.dispatch([make_mqtt_record(VIN)])

        disturb()
        sink.start()
        disturb()
        self.advance(0.01)
        disturb()
        self.broker.go_away()
        disturb()
        self.broker.away = False
        self.advance(1.1)
        disturb()
        stopped = sink.stop()
        disturb()
        self.broker.go_away()
        disturb()
        self.advance(0.01)
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
