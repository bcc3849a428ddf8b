"""Settings, readiness and outcomes of the ``redis`` sink, over a server in memory."""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest import TestCase as StdlibTestCase
from unittest.mock import patch

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from fleetgw.adapters.secrets.secret import SecretFile
from fleetgw.adapters.sinks.redis.poison_records import Quarantined
from fleetgw.adapters.sinks.redis.replies import Moved
from fleetgw.adapters.sinks.redis.settings import Address, read_settings
from fleetgw.adapters.sinks.redis.sink import RedisSink
from fleetgw.adapters.sinks.redis.type import REDIS
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.app.pipeline.lane import Lane, LaneTiming
from fleetgw.domain.delivery.limits import BacklogLimits
from fleetgw.domain.errors import ConfigurationError, FleetgwError, NotConnected, Rejected, Retryable, Unheard
from fleetgw.domain.ports import RECEIPT, IReloadable, NotReady, Outcome, Ready
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics, ThreadlessReactor, make_record
from tests.support.lane_case import Origin
from tests.support.redis.memory import MemoryClusterView, MemoryRedis
from tests.support.workers import InlineWorker

USUAL = {"addrs": ["memory:6379"], "publish_vin_topics": True}
VIN = "5YJ3E1EA7KF000001"
CHANNEL = b"ns_V_{5YJ3E1EA7KF000001}"


class SettingsTests(StdlibTestCase):
    def refused(self, **settings: object) -> str:
        with self.assertRaises(ConfigurationError) as caught:
            read_settings("redis", {**USUAL, **settings})
        return str(caught.exception)

    def test_refused(self) -> None:
        self.assertIn("redis.addrs: is empty", self.refused(addrs=[]))
        self.assertIn("redis.addrs: 'memory' is no address", self.refused(addrs=["memory"]))
        self.assertIn("neither publish_vin_topics nor", self.refused(publish_vin_topics=False))
        self.assertIn("redis.sentinel: a cluster", self.refused(sentinel={"master_name": "m"}, cluster_mode=True))
        self.assertIn("redis.tls: cannot be used", self.refused(tls={"ca_file": "/nonexistent/ca.pem"}))

    def test_addresses(self) -> None:
        found = read_settings("redis", {**USUAL, "addrs": ["a:1", "[::1]:6379"]})
        self.assertEqual(found.addresses, (Address("a", 1), Address("::1", 6379)))
        self.assertEqual(str(found.addresses[1]), "[::1]:6379")

    def test_the_shortest_of_the_times_in_nanoseconds_counts(self) -> None:
        second = 1_000_000_000
        for settings, expected_s in (
            ({}, 5.0),
            ({"publish_timeout": 0}, 5.0),
            ({"publish_timeout": 2 * second}, 2.0),
            ({"publish_timeout": 2 * second, "pool": {"read_timeout": second // 2}}, 0.5),
            ({"pool": {"read_timeout": -1, "write_timeout": second}}, 1.0),
            ({"publish_timeout": 60 * second}, 60.0),
        ):
            with self.subTest(settings=settings):
                found = read_settings("redis", {**USUAL, **settings})
                self.assertEqual(found.answer_timeout_s, expected_s)
                self.assertEqual(found.connect_timeout_s, min(5.0, expected_s))

    def test_pool(self) -> None:
        for pool, connections in (
            (None, 1),
            ({"pool_size": 4}, 4),
            ({"pool_size": 4, "max_active_conns": 2}, 2),
            ({"pool_size": 4, "max_active_conns": 0}, 4),
        ):
            with self.subTest(pool=pool):
                self.assertEqual(read_settings("redis", {**USUAL, "pool": pool}).connections, connections)
        found = read_settings("redis", {**USUAL, "pool": {"min_idle_conns": 1, "pool_timeout": 5, "max_idle_conns": None}})
        self.assertEqual(found.without_effect, ("redis.pool.min_idle_conns", "redis.pool.pool_timeout"))

    def test_zero_is_the_default_and_a_negative_number_is_no_limit(self) -> None:
        """As in Go."""
        usual = read_settings("redis", USUAL)
        for value in (0, -1, -2):
            pool = dict.fromkeys(
                ("read_timeout", "write_timeout", "pool_timeout", "conn_max_idle_time", "conn_max_lifetime"), value
            )
            found = read_settings("redis", {**USUAL, "pool": pool, "publish_timeout": 0, "db": 0})
            self.assertEqual(evolve(found, without_effect=()), usual)
        zeros = {"pool_size": 0, "min_idle_conns": 0, "max_idle_conns": 0, "max_active_conns": 0}
        self.assertEqual(read_settings("redis", {**USUAL, "pool": zeros}), usual)

    def test_name_of_the_servers(self) -> None:
        for given, expected in ((True, "a"), (False, None), ("name", "name"), ("", None), (None, None)):
            found = read_settings("redis", {**USUAL, "addrs": ["a:1", "b:2"], "override_tls_server_name": given})
            self.assertEqual(found.server_name, expected)

    def test_an_address_without_a_host(self) -> None:
        self.assertEqual(read_settings("redis", {**USUAL, "addrs": [":1"]}).addresses, (Address("localhost", 1),))

    def test_secrets_stay_out_of_messages(self) -> None:
        self.assertNotIn("hush", self.refused(password="hush", addrs=[]))

    def test_missing_library(self) -> None:
        for library in ("hiredis", "redis.connection"):
            own = [name for name in sys.modules if name.startswith("fleetgw.adapters.sinks.redis.")]
            with patch.dict(sys.modules, {library: None}):
                for name in own:
                    del sys.modules[name]
                with self.assertRaisesRegex(ConfigurationError, r"pip install 'fleetgw\[redis\]'"):
                    REDIS.make(
                        SinkContext("redis", USUAL, "ns", ("V",), ThreadlessReactor(), ReadableMetrics(), ReadableLog())
                    )


class SinkCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = MemoryRedis()
        self.reactor, self.metrics, self.log = ThreadlessReactor(), ReadableMetrics(), ReadableLog()

    def sink(self, **settings: object) -> RedisSink:
        context = SinkContext("redis", {**USUAL, **settings}, "ns", ("V",), self.reactor, self.metrics, self.log)
        server = self.server
        sink = RedisSink(context, server.make_pipe, lambda _settings: MemoryClusterView(server), InlineWorker)
        self.successResultOf(sink.start())
        self.reactor.advance(0)
        return sink

    def outcomes(self, sink: RedisSink, *vins: str) -> list[Outcome]:
        answer = sink.dispatch([make_record(vin) for vin in vins])
        self.reactor.pump([0.001] * 5)
        return list(self.successResultOf(answer))


class SinkTests(SinkCase):
    def test_no_subscriber(self) -> None:
        self.server.listens = lambda channel: channel == CHANNEL
        outcomes = self.outcomes(self.sink(), VIN, "other", VIN)
        self.assertEqual([type(outcome) for outcome in (outcomes[0], outcomes[2])], [type(RECEIPT)] * 2)
        self.assertIsInstance(outcomes[1], Unheard)
        self.assertEqual(self.metrics.value("redis_no_receiver_total", "V"), 1)
        self.assertEqual(self.metrics.value("redis_publish_total", "V"), 2)
        self.assertEqual(self.metrics.value("redis_publish_total_bytes", "V"), 14)
        self.assertEqual(self.metrics.value("redis_err", "V"), 0)

    def test_published_channels_are_counted_as_in_the_go_server(self) -> None:
        """22 records, each to a subscriber's channel and to the vehicle's, are 44."""
        sink = self.sink(publish_vin_topics=True, subscriber_set_prefix="subs")
        self.server.sets[b"subs_" + CHANNEL] = {b"theirs": 2e12}
        self.assertEqual(self.outcomes(sink, *[VIN] * 22), [RECEIPT] * 22)
        self.assertEqual(len(self.server.published), 44)
        self.assertEqual(self.metrics.value("redis_publish_total", "V"), 44)
        self.assertEqual(
            self.metrics.value("redis_publish_total_bytes", "V"), sum(len(payload) for _, payload in self.server.published)
        )

    def test_its_registration_has_the_go_servers_fields(self) -> None:
        self.sink(publish_vin_topics=True, subscriber_set_prefix="subs")
        (event,) = self.log.fields_of("redis_registered")
        self.assertLessEqual(
            {"namespace": "ns", "publish_vin_topics": True, "subscriber_set_prefix": "subs"}.items(), event.items()
        )

    def test_a_subscriber_at_another_node_of_the_cluster(self) -> None:
        self.server.listens = lambda _channel: False
        self.server.elsewhere = {CHANNEL}
        outcomes = self.outcomes(self.sink(cluster_mode=True), VIN, "other")
        self.assertIs(outcomes[0], RECEIPT)
        self.assertIsInstance(outcomes[1], Unheard)

    def test_without_a_cluster_no_other_node_is_asked(self) -> None:
        self.server.listens = lambda _channel: False
        self.server.elsewhere = {CHANNEL}
        self.assertIsInstance(self.outcomes(self.sink(), VIN)[0], Unheard)

    def test_an_error_reply_makes_it_not_ready_until_a_record_is_delivered(self) -> None:
        sink = self.sink()
        self.assertEqual(sink.readiness(), Ready())
        self.server.errors[CHANNEL] = b"NOPERM no such channel for you"
        (outcome,) = self.outcomes(sink, VIN)
        self.assertIsInstance(outcome, Retryable)
        self.assertEqual(sink.readiness(), NotReady("NOPERM no such channel for you"))
        self.assertEqual(self.log.fields_of("redis_err")[0]["kind"], "NOPERM")
        self.server.errors.clear()
        self.assertEqual(self.outcomes(sink, VIN), [RECEIPT])
        self.assertEqual(sink.readiness(), Ready())
        events = [event for _, event, _ in self.log.entries if event.startswith("sink_")]
        self.assertEqual(events, ["sink_ready", "sink_not_ready", "sink_ready"])

    def test_a_server_that_is_down_does_not_flood_the_log(self) -> None:
        self.server.go_away()
        sink = self.sink()
        for _ in range(50):
            (outcome,) = self.outcomes(sink, VIN)
            self.assertIsInstance(outcome, NotConnected)
        self.assertEqual(len(self.log.fields_of("redis_err")), 1)
        self.assertEqual(self.log.fields_of("redis_err")[0]["kind"], "NotConnected", "a kind of error, no address")
        self.assertEqual(self.metrics.value("redis_err", "V"), 50)
        self.assertEqual(sink.readiness(), NotReady("memory:6379: it is down"))

    def test_a_cluster_that_is_down(self) -> None:
        self.server.down = True
        sink = self.sink(cluster_mode=True)
        (outcome,) = self.outcomes(sink, VIN)
        self.assertIsInstance(outcome, NotConnected)
        self.assertEqual(sink.readiness(), NotReady("memory:6379: it is down"))
        self.server.down = False
        self.reactor.advance(1)
        self.reactor.advance(0)
        self.assertEqual(self.outcomes(sink, VIN), [RECEIPT])
        self.assertEqual(sink.readiness(), Ready())

    def test_a_quarantined_record_takes_a_connection_for_quarantined_records(self) -> None:
        """A loss of that connection delays no other record."""
        sink = self.sink()
        record, other = make_record(VIN), make_record("other")
        (pipe,) = self.server.pipes
        self.server.held = True
        answer = sink.dispatch([record, other])
        pipe.quarantine(record)
        self.server.release()
        self.reactor.advance(0)
        outcomes = self.successResultOf(answer)
        self.assertIsInstance(outcomes[0], Quarantined)
        self.assertNotIsInstance(outcomes[0], NotConnected)
        self.assertIs(outcomes[1], RECEIPT)

        again = sink.dispatch([other, record])
        own = self.server.pipes[1]
        self.assertEqual((own.alone, [each.vin for each in own.submitted]), (True, [VIN]))
        self.reactor.advance(0)
        self.assertEqual(self.successResultOf(again), [RECEIPT] * 2)

        own.lost("it closed the connection")
        self.reactor.advance(0)
        self.assertEqual(sink.readiness(), Ready())
        answer = sink.dispatch([record, other])
        self.reactor.advance(0)
        outcomes = self.successResultOf(answer)
        self.assertIs(type(outcomes[0]), Retryable)
        self.assertIs(outcomes[1], RECEIPT)
        stopped = sink.stop()
        self.reactor.advance(0)
        self.successResultOf(stopped)

    def test_records_that_can_never_be_published_are_rejected(self) -> None:
        sink = self.sink()
        answer = sink.dispatch([make_record(VIN, record_type="x" * 5000), make_record("a}b"), make_record(VIN)])
        self.reactor.advance(0)
        outcomes = self.successResultOf(answer)
        self.assertEqual([type(each) for each in outcomes], [Rejected, Rejected, type(RECEIPT)])
        self.assertLess(len(str(outcomes[0])), 300)

    def test_moved_without_cluster_mode(self) -> None:
        """The server is a node of a cluster, although not configured as one: the sink uses the cluster, and logs it once."""
        self.server.errors[CHANNEL] = b"MOVED 1 other:6379"
        sink = self.sink()
        outcomes = self.outcomes(sink, VIN, "other", VIN)
        self.assertEqual([type(each) for each in outcomes], [Moved, type(RECEIPT), Moved])
        self.server.errors.clear()
        self.reactor.advance(0)
        self.assertEqual(self.outcomes(sink, VIN, "other"), [RECEIPT] * 2)
        self.assertEqual(sink.readiness(), Ready())
        (event,) = self.log.fields_of("redis_cluster_found")
        self.assertRegex(str(event["reason"]), "set redis.cluster_mode to true")
        self.assertEqual(len(self.server.pipes), 2)

    def test_nodes_of_a_cluster_found_before_any_record(self) -> None:
        sink = self.sink()
        sink._cluster_found()
        sink._cluster_found()
        self.reactor.advance(0)
        self.reactor.advance(0)
        self.assertEqual(len(self.log.fields_of("redis_cluster_found")), 1)
        self.server.listens = lambda _channel: False
        self.server.elsewhere = {CHANNEL}
        self.assertEqual(self.outcomes(sink, VIN), [RECEIPT], "subscribers at other nodes count")
        stopped = sink.stop()
        self.reactor.advance(0)
        self.successResultOf(stopped)
        sink._cluster_found()
        self.reactor.advance(0)

    def test_stop_does_not_wait_for_the_view_of_the_cluster(self) -> None:
        """It may hang in a name server."""

        class Hanging(InlineWorker):
            def do(self, _job: object) -> None:
                """Never."""

        context = SinkContext("redis", {**USUAL, "cluster_mode": True}, "ns", ("V",), self.reactor, self.metrics, self.log)
        sink = RedisSink(context, self.server.make_pipe, lambda _access: MemoryClusterView(self.server), Hanging)
        self.successResultOf(sink.start())
        stopped = sink.stop()
        self.reactor.advance(0)
        self.successResultOf(stopped)

    def test_stop_waits_until_the_view_of_the_cluster_is_closed(self) -> None:
        class LateWorker(InlineWorker):
            def do(self, job: Callable[[], None]) -> None:
                jobs.append(job)

        jobs: list[Callable[[], None]] = []
        context = SinkContext("redis", {**USUAL, "cluster_mode": True}, "ns", ("V",), self.reactor, self.metrics, self.log)
        sink = RedisSink(context, self.server.make_pipe, lambda _access: MemoryClusterView(self.server), LateWorker)
        self.successResultOf(sink.start())
        jobs.pop()()
        self.reactor.advance(0)
        stopped = sink.stop()
        self.reactor.advance(0)
        self.assertNoResult(stopped)
        jobs.pop()()
        self.reactor.advance(0)
        self.successResultOf(stopped)

    def test_results_after_a_cancelled_stop_are_ignored(self) -> None:
        sink = self.sink()
        self.server.hold()
        answer = sink.dispatch([make_record(VIN)])
        stopped = sink.stop()
        stopped.cancel()
        self.successResultOf(stopped)
        self.assertIs(type(self.successResultOf(answer)[0]), Retryable)
        self.reactor.advance(0)
        self.assertEqual(self.metrics.value("redis_err", "V"), 0)
        self.assertEqual(self.log.fields_of("redis_err"), [])

    def test_credentials_can_be_read_again(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        file = Path(folder.name) / "pw"
        file.write_text("old")
        sink = self.sink(password=SecretFile.read(file))
        verifyObject(IReloadable, sink)
        self.assertEqual(sink.reload(), ())
        file.write_text("newer")
        self.assertEqual(sink.reload(), [str(file)])
        file.write_text("")
        with self.assertRaisesRegex(FleetgwError, "is empty"):
            sink.reload()
        sink._credentials.current()
        self.reactor.advance(0)
        self.assertRegex(str(self.log.fields_of("credentials_not_reloaded")[0]["error"]), "is empty")
        file.write_text("newest")
        self.assertEqual(sink._credentials.current().login.password, "newest")
        self.reactor.advance(0)
        self.assertEqual(self.log.fields_of("credentials_reloaded"), [{"dispatcher": "redis", "files": [str(file)]}])

    def test_settings_without_effect_are_logged(self) -> None:
        self.sink(pool={"min_idle_conns": 3})
        self.assertEqual(self.log.fields_of("redis_setting_ignored")[0]["key"], "redis.pool.min_idle_conns")


class RecoveryTests(SinkCase):
    """A lane before the sink, while its servers go away and come back."""

    def check(self, **settings: object) -> None:
        sink = self.sink(**settings)
        limits = BacklogLimits(queue_records=100, queue_bytes=10**6, in_flight_records=50, batch_records=50)
        lane = Lane(sink, limits, LaneTiming(0.005, 0.5, 30.0, 10.0), self.reactor, self.metrics, self.log)
        origin = Origin()
        for window in range(5):
            self.server.go_away()
            lane.offer([make_record(f"VIN{number}") for number in range(10)], 10 * len(b"payload"), origin)
            self.reactor.pump([0.05] * 500)
            self.assertEqual(sum(map(len, origin.confirmed_txids)), 10 * window)
            self.assertIsInstance(sink.readiness(), NotReady)
            self.server.come_back()
            self.reactor.pump([0.05] * 22)
            self.assertEqual(sum(map(len, origin.confirmed_txids)), 10 * (window + 1), f"window {window}")
            self.assertEqual(sink.readiness(), Ready())
            self.reactor.pump([0.05] * 138)
        lane.close()

    def test_one_server(self) -> None:
        self.check()

    def test_sentinel(self) -> None:
        self.check(sentinel={"master_name": "m"})

    def test_cluster(self) -> None:
        self.check(cluster_mode=True)

    def test_an_error_reply_counts_until_the_connection_ends(self) -> None:
        sink = self.sink()
        self.server.errors[CHANNEL] = b"NOPERM no such channel for you"
        self.outcomes(sink, VIN)
        self.assertIsInstance(sink.readiness(), NotReady)
        self.server.go_away()
        self.server.come_back()
        self.reactor.advance(0)
        self.assertEqual(sink.readiness(), Ready())
