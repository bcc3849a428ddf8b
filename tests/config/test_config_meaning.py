"""Sense checks of a configuration: errors and warnings."""

from importlib.metadata import EntryPoint, EntryPoints, entry_points
from unittest import mock

from fleetgw.app.config import parse_config
from fleetgw.domain.errors import ConfigurationError
from tests.support.config_case import NOW, ConfigCase


class RouteTests(ConfigCase):
    def test_sinks_that_do_not_exist(self) -> None:
        self.assertEqual(
            self.refused(
                records={"V": ["kafak", "stdout"]}, dispatchers={"mine": {"class": "tests.support.free_form_sink:SINK"}}
            ),
            [
                'records.V[0]: there is no sink "kafak"; did you mean "kafka"? Known: '
                '"embedded", "kafka", "kinesis", "logger", "memory", "mine", "mqtt", "pubsub", "redis", "sqlite", "zmq"',
                'records.V[1]: there is no sink "stdout"; known: '
                '"embedded", "kafka", "kinesis", "logger", "memory", "mine", "mqtt", "pubsub", "redis", "sqlite", "zmq"',
            ],
        )

    def test_a_sink_that_is_for_programs(self) -> None:
        with self.assertRaises(ConfigurationError) as caught:
            parse_config(self.text(records={"V": ["embedded"]}), {}, self.folder, now=NOW)
        (problem,) = caught.exception.problems
        self.assertEqual(problem.path, "records.V[0]")
        self.assertIn("runs inside a program of yours", problem.what)
        self.assertIn("docs/embedding.md", problem.fix)

    def test_a_routed_sink_needs_its_section(self) -> None:
        self.assertEqual(
            self.refused(records={"V": ["logger", "kafka"]}),
            ['records.V[1]: routes to "kafka", which is not configured; add the section "kafka"'],
        )

    def test_reliable_ack_mistakes(self) -> None:
        kafka = {"bootstrap.servers": "k:9092"}
        records = {"V": ["logger", "kafka"], "alerts": ["logger"], "connectivity": ["kafka"]}
        problems = self.refused(
            records=records,
            kafka=kafka,
            reliable_ack_sources={"V": "logger", "alerts": "kafka", "error": "kafka", "connectivity": "kafka"},
        )
        self.assertEqual(
            problems,
            [
                "reliable_ack_sources.V: the logger confirms nothing; "
                'name one that can be relied on; the type goes to "kafka"',
                'reliable_ack_sources.alerts: "kafka" is not among the sinks of records.alerts; '
                "remove it, or add a sink that confirms",
                'reliable_ack_sources.error: is a record type without a route; known: "V", "alerts", "connectivity"',
                "reliable_ack_sources.connectivity: connectivity records come from the gateway: "
                "nobody waits for an acknowledgement; remove it",
            ],
        )

    def test_ack_policies(self) -> None:
        sections = {
            "kafka": {"bootstrap.servers": "k:9092"},
            "redis": {"addrs": ["r:1"], "publish_vin_topics": True},
            "zmq": {"addr": "tcp://*:1"},
        }
        mqtt = {"broker": "b:1", "topic_base": "t", "qos": 0}
        records = {"V": ["kafka", "redis"], "alerts": ["kafka", "mqtt", "zmq", "logger"], "connectivity": ["kafka"]}

        def refused(**changes: object) -> list[str]:
            whole: dict[str, object] = {"namespace": "n", "records": records, "mqtt": mqtt, **sections}
            return self.refused(**whole | changes)

        for policies in ({"V": "kafka and redis", "alerts": "accepted"}, {"V": "any"}, {"alerts": "kafka"}):
            with self.subTest(policies):
                whole: dict[str, object] = {"namespace": "n", "records": records, "mqtt": mqtt, **sections}
                self.assertEqual(self.warned(**whole, ack_policies=policies), [])
        example = 'must be "accepted", "all", "any" or an expression such as "kafka and redis"'
        rely = 'name one that can be relied on; the type goes to "kafka"'
        taken = "confirms no more than that the socket has taken a record"
        own = "records come from the gateway: nobody waits for an acknowledgement; remove it"
        for policies, expected in (
            ({"V": ""}, [f"V: lacks a sink at its beginning; {example}"]),
            ({"V": "kafka and mqtt"}, [f'V: names "mqtt", to which the type is not routed; {example}']),
            ({"V": "kafka and rediss"}, ['V: names "rediss", to which the type is not routed; did you mean "redis"?']),
            ({"V": "al"}, ['V: names "al", to which the type is not routed; did you mean "all"?']),
            ({"V": "bad"}, [f'V: names "bad", to which the type is not routed; {example}']),
            ({"V": "(kafka"}, ['V: has a "(" without a ")"; close it']),
            ({"v": "kafka"}, ['v: is a record type without a route; did you mean "V"?']),
            ({"alerts": "zmq"}, [f'alerts: waits for "zmq", but zmq {taken}; {rely}']),
            ({"alerts": "kafka and mqtt"}, [f'alerts: waits for "mqtt", but mqtt with qos 0 {taken}; {rely}']),
            (
                {"alerts": "all"},
                [
                    f'alerts: waits for "mqtt", but mqtt with qos 0 {taken}; {rely}',
                    f'alerts: waits for "zmq", but zmq {taken}; {rely}',
                    f'alerts: waits for "logger", but the logger confirms nothing; {rely}',
                ],
            ),
            (
                {"connectivity": "kafka"},
                [f"connectivity: connectivity {own}"],
            ),
            (
                {"gateway_status": "kafka"},
                [f"gateway_status: gateway_status {own}"],
            ),
        ):
            with self.subTest(policies):
                self.assertEqual(refused(ack_policies=policies), [f"ack_policies.{problem}" for problem in expected])
        self.assertEqual(
            refused(ack_policies={"V": "kafka"}, reliable_ack_sources={"V": "kafka"}),
            ["ack_policies.V: is a second policy beside reliable_ack_sources.V; remove one of them"],
        )

    def test_warnings(self) -> None:
        cases: list[tuple[str, dict[str, object]]] = [
            ("reliable_ack", {"reliable_ack": True}),
            ("use_default_eng_ca", {"use_default_eng_ca": True}),
            ("records.V[1]", {"records": {"V": ["logger", "logger"]}}),
            ("records.v", {"records": {"v": ["logger"]}}),
            ("records.conectivity", {"records": {"conectivity": ["logger"]}}),
            ("redis", {"redis": {}}),
            ("dispatchers.mine", {"dispatchers": {"mine": {"class": "tests.support.free_form_sink:SINK"}}}),
            ("port", {"port": 0}),
            ("monitoring.statsd.host", {"monitoring": {"statsd": {"prefix": "x"}}}),
            ("airbrake.project_key", {"airbrake": {}}),
            ("operations", {"operations": {"hosts": ["gw.example.com"]}}),
            ("monitoring.profiling_path", {"monitoring": {"profiling_path": "trace"}}),
            ("monitoring.profiling_path", {"monitoring": {"profiler_port": 6060, "profiling_path": "/no/such/x"}}),
        ]
        for path, changes in cases:
            with self.subTest(path):
                self.assertEqual([warning.split(":")[0] for warning in self.warned(**changes)], [path])
        kafka = {
            "namespace": "n",
            "records": {"V": ["zmq"]},
            "zmq": {"addr": "tcp://*:1"},
            "reliable_ack_sources": {"V": "zmq"},
        }
        self.assertEqual([warning.split(":")[0] for warning in self.warned(**kafka)], ["reliable_ack_sources.V"])
        mqtt = {"broker": "b:1", "topic_base": "t"}
        for qos, expected in ((0, ["reliable_ack_sources.V"]), (1, [])):
            warnings = self.warned(
                namespace="n", records={"V": ["mqtt"]}, mqtt=mqtt | {"qos": qos}, reliable_ack_sources={"V": "mqtt"}
            )
            self.assertEqual([warning.split(":")[0] for warning in warnings], expected)

    def test_kafka_with_acks_0_confirms_a_hand_over_alone(self) -> None:
        whole: dict[str, object] = {"namespace": "n", "records": {"V": ["kafka"]}}
        for properties in ({"acks": 0}, {"acks": "0"}, {"request.required.acks": 0}):
            with self.subTest(properties):
                whole["kafka"] = {"bootstrap.servers": "k:9092", **properties}
                what = "kafka with acks 0 confirms no more than that the client has sent a record"
                warnings = self.warned(**whole, reliable_ack_sources={"V": "kafka"})
                self.assertEqual(
                    warnings, [f'reliable_ack_sources.V: {what}; name one that can be relied on; the type goes to "kafka"']
                )
                fix = "remove it, or add a sink that confirms"
                problems = self.refused(**whole, ack_policies={"V": "kafka"})
                self.assertEqual(problems, [f'ack_policies.V: waits for "kafka", but {what}; {fix}'])
        whole["kafka"] = {"bootstrap.servers": "k:9092", "acks": 1}
        self.assertEqual(self.warned(**whole, reliable_ack_sources={"V": "kafka"}), [])

    def test_airbrake(self) -> None:
        whole = {"host": "https://errors.example/errbit", "project_id": 1, "project_key": "k"}
        self.assertEqual(self.warned(airbrake=whole), [])
        for host in ("errors.example", "ftp://errors.example", "https://", "https://a b", "https://user:pw@errors.example"):
            (problem,) = self.refused(airbrake=whole | {"host": host})
            self.assertTrue(problem.startswith("airbrake.host: is "), problem)

    def test_no_namespace_matters_to_sinks_with_topics(self) -> None:
        kafka = {"kafka": {"bootstrap.servers": "k:1"}, "records": {"V": ["kafka"]}}
        self.assertEqual(
            self.warned(**kafka), ['namespace: is empty: topics are called "_V" and so on; name one, such as "fleet"']
        )
        self.assertEqual(self.warned(namespace="n", **kafka), [])
        self.assertIn('its Kafka topic would be "n s_V"', self.refused(namespace="n s", **kafka)[0])

    def test_third_party_sinks_from_installed_packages(self) -> None:
        theirs = EntryPoint("theirs", "tests.support.free_form_sink:SINK", "fleetgw.sinks")
        installed = EntryPoints([*entry_points(group="fleetgw.sinks"), theirs])
        with mock.patch("fleetgw.adapters.sinks.registry.entry_points", lambda group: installed.select(group=group)):
            self.assertEqual(self.warned(records={"V": ["theirs"]}, namespace="n"), [])
            self.assertEqual(
                self.warned(records={"V": ["theirs"]}, namespace="n", dispatchers={"theirs": {"settings": {"a": 1}}}), []
            )
        self.assertEqual(
            self.refused(
                records={"V": ["theirs"]},
                dispatchers={"theirs": {}, "kafka": {"class": "tests.support.free_form_sink:SINK"}, "bad": {"class": "a.B"}},
            ),
            [
                "dispatchers.theirs: has no class, and no installed package adds a sink of this name; installed: none",
                "dispatchers.kafka: is the name of a built-in sink; choose another name",
                'dispatchers.bad.class: is "a.B"; must be "module:NAME"',
            ],
        )

    def test_a_lanes_settings_are_the_general_ones_but_for_its_own(self) -> None:
        delivery = self.load(delivery={"batch_records": 7, "sinks": {"logger": {"queue_records": 5}}}).config.delivery
        self.assertEqual((delivery.lane("logger").queue_records, delivery.lane("logger").batch_records), (5, 7))
        self.assertEqual((delivery.lane("kafka").queue_records, delivery.lane("kafka").batch_records), (100_000, 7))
        problems = self.refused(delivery={"retry_max_s": 0.1, "sinks": {"loger": {}}})
        self.assertEqual(
            problems,
            [
                'delivery.sinks.loger: nothing is routed to this sink; did you mean "logger"?',
                "delivery.retry_initial_s: is longer than retry_max_s; must be at most 0.1",
                "delivery.sinks.loger.retry_initial_s: is longer than retry_max_s; must be at most 0.1",
            ],
        )


class HealthTests(ConfigCase):
    def test_a_grace_that_is_too_short_or_that_nobody_asks_for_is_worth_a_warning(self) -> None:
        for grace_s, status_port, expected in (
            (0, 0, []),
            (10, 8080, []),
            (9.5, 8080, ["is 9.5: the gateway is not ready while sinks connect"]),
            (10, 0, ["has no effect without status_port"]),
        ):
            with self.subTest(grace_s=grace_s, status_port=status_port):
                warned = self.warned(health={"sink_grace_s": grace_s}, status_port=status_port)
                found = [each.removeprefix("health.sink_grace_s: ") for each in warned if "sink_grace_s" in each]
                self.assertEqual([what[: len(begin)] for what, begin in zip(found, expected, strict=True)], expected)

    def test_a_grace_below_0_is_refused(self) -> None:
        (problem,) = self.refused(health={"sink_grace_s": -1})
        self.assertTrue(problem.startswith("health.sink_grace_s: "), problem)


class DrainTests(ConfigCase):
    def test_more_vehicles_than_can_be_closed_in_time(self) -> None:
        for changes, warned in (
            ({}, False),
            ({"limits": {"max_connections": 3500}}, False),
            ({"limits": {"max_connections": 3501}}, True),
            ({"limits": {"max_connections": 3501}, "drain": {"rate_per_s": 0}}, False),
            ({"limits": {"max_connections": 3501}, "drain": {"rate_per_s": 501}}, False),
            ({"limits": {"max_connections": 3501}, "delivery": {"drain_timeout_s": 11}}, False),
            ({"limits": {"max_connections": 3501}, "delivery": {"sinks": {"logger": {"drain_timeout_s": 11}}}}, False),
        ):
            with self.subTest(changes=changes):
                self.assertEqual(len(self.warned(**changes)), int(warned))
        self.assertEqual(
            self.warned(limits={"max_connections": 60_000}),
            [
                "drain.rate_per_s: closes 3500 vehicles in time, and limits.max_connections is 60000; "
                "raise it, or set delivery.drain_timeout_s to at least 172"
            ],
        )

    def test_ranges(self) -> None:
        for key in ("wait_s", "rate_per_s"):
            (problem,) = self.refused(drain={key: -1})
            self.assertTrue(problem.startswith(f"drain.{key}: "), problem)


class ValueTests(ConfigCase):
    def test_ranges(self) -> None:
        cases: dict[str, dict[str, object]] = {
            "port": {"port": 65536},
            "status_port": {"status_port": -1},
            "limits.ping_after_s": {"limits": {"ping_after_s": -1}},
            "limits.max_frame_bytes": {"limits": {"max_frame_bytes": 10}},
            "delivery.queue_records": {"delivery": {"queue_records": 0}},
            "delivery.sinks.logger.queue_bytes": {"delivery": {"sinks": {"logger": {"queue_bytes": 0}}}},
            "deduplication.window_s": {"deduplication": {"window_s": -1}},
            "deduplication.max_records": {"deduplication": {"window_s": 60, "max_records": 0}},
            "identity.issuers.X": {"identity": {"issuers": {"X": {"by_extended_key_usage": False}}}},
            "identity.issuers.Y": {"identity": {"issuers": {"Y": ""}}},
            "mqtt.qos": {"mqtt": {"qos": 3}},
            "kafka_client": {"kafka_client": "librdkafka"},
            "monitoring.statsd.host": {"monitoring": {"statsd": {"host": "nowhere"}}},
            "vins_signal_tracking_enabled": {"vins_signal_tracking_enabled": [str(number) for number in range(21)]},
            "logger": {"logger": None},
        }
        for path, changes in cases.items():
            with self.subTest(path):
                self.assertEqual([problem.split(":")[0] for problem in self.refused(**changes)], [path])

    def test_two_listeners_on_one_port(self) -> None:
        cases: list[tuple[str, int, bool]] = [
            ("", 4443, True),
            ("127.0.0.1", 4443, True),
            ("10.0.0.1", 4443, False),
            ("::", 4443, True),
            ("", 4444, False),
        ]
        for host, port, conflict in cases:
            with self.subTest(host=host, port=port):
                changes = {"host": host, "monitoring": {"prometheus_metrics_port": port}}
                if conflict:
                    expected = "monitoring.prometheus_metrics_port: is 4443, where port listens already; choose another port"
                    self.assertEqual(self.refused(**changes), [expected])
                else:
                    self.load(**changes)

    def test_hosts(self) -> None:
        for host in ("", "0.0.0.0", "::1", "localhost", "gw-1.example.org", "fe80::1%eth0", "[::1]", "[::]"):
            self.load(host=host)
        for host in (
            "10.0.0.1:443",
            "[::1]:443",
            "[::1",
            "[10.0.0.1]",
            "[]",
            "[localhost]",
            "10.0.0",
            "a b",
            "-a",
            "http://x",
        ):
            with self.subTest(host):
                self.assertEqual([problem.split(":")[0] for problem in self.refused(host=host)], ["host"])

    def test_kafka_properties(self) -> None:
        problems = self.refused(
            namespace="n",
            records={"V": ["kafka"]},
            kafka={
                "bootstrap.server": "k:1",
                "acks": None,
                "linger.ms": ["1"],
                "ssl.ca.location": "none.crt",
                "retries": -1,
            },
        )
        self.assertEqual(
            sorted(problem.split("; ")[0] for problem in problems),
            [
                "kafka.acks: is null",
                'kafka.retries: Configuration property "message.send.max.retries" '
                "value -1 is outside allowed range 0..2147483647",
                "kafka: names no brokers",
                'kafka["bootstrap.server"]: No such configuration property: "bootstrap.server"',
                'kafka["linger.ms"]: is a list',
                'kafka["ssl.ca.location"]: none.crt does not exist',
            ],
        )
        self.assertIn('did you mean "bootstrap.servers"?', next(each for each in problems if "No such" in each))
        warnings = self.warned(
            namespace="n",
            records={"V": ["kafka"]},
            kafka={"bootstrap.servers": "k:1", "go.delivery.reports": False, "linger.ms": 1.5},
        )
        self.assertEqual([each.split(":")[0] for each in warnings], ['kafka["go.delivery.reports"]', 'kafka["linger.ms"]'])
