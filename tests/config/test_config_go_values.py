"""Values and keys of the Go server's files: accepted values stay accepted, and ignored ones are reported."""

import json

from fleetgw.adapters.sinks.registry import built_in_sinks
from fleetgw.app.config import Config
from tests.support.config_case import ConfigCase

SECTIONS = {name: each.settings for name, each in built_in_sinks().items() if isinstance(each.settings, type)}
OLD_KEYS = [*Config.old_keys, *(f"{name}.{key}" for name, section in SECTIONS.items() for key in section.old_keys)]

NOT_ROUTED = {"records": {"V": ["logger"]}, "namespace": "n"}


class ZeroValueTests(ConfigCase):
    def test_zero_where_the_go_server_takes_it_for_left_out(self) -> None:
        config = self.load(
            rate_limit={"enabled": False, "message_interval_time": 0, "message_limit": 0},
            monitoring={"statsd": {"host": "h:8125", "flush_period": 0, "sample_rate": 0}},
        ).config
        assert config.monitoring.statsd is not None
        self.assertEqual((config.rate_limit.message_interval_time, config.monitoring.statsd.flush_period), (60, 100))
        self.assertEqual(config.monitoring.statsd.sample_rate, 100)

    def test_a_limit_that_is_off_may_hold_anything(self) -> None:
        self.assertEqual(self.warned(rate_limit={"enabled": False, "message_limit": -5, "message_interval_time": -1}), [])

    def test_a_limit_that_is_on_may_not(self) -> None:
        self.assertEqual(
            self.refused(rate_limit={"enabled": True, "message_limit": -5, "message_interval_time": -1}),
            [
                "rate_limit.message_limit: is -5; must be at least 1 record per interval",
                "rate_limit.message_interval_time: is -1, though the limit is enabled; must be at least 1 second",
            ],
        )

    def test_a_limit_with_interval_0_has_the_default(self) -> None:
        config = self.load(rate_limit={"enabled": True, "message_limit": 5, "message_interval_time": 0}).config
        self.assertEqual(config.rate_limit.message_interval_time, 60)

    def test_statsd_without_a_host(self) -> None:
        for statsd in ({}, {"host": ""}, {"prefix": "x"}):
            with self.subTest(statsd=statsd):
                (warning,) = self.warned(monitoring={"statsd": statsd})
                self.assertRegex(warning, "^monitoring.statsd.host: is missing: no metrics are sent")

    def test_an_empty_log_level_counts_as_left_out(self) -> None:
        loaded = self.load(log_level="")
        self.assertEqual(loaded.config.log_level, "info")
        self.assertRegex(str(loaded.warnings[0]), '^log_level: is empty, which counts as left out; .* one of "trace"')

    def test_retries_of_minus_one_are_the_aws_librarys_default(self) -> None:
        config = self.load(**NOT_ROUTED, kinesis={"max_retries": -1}).config
        assert config.kinesis is not None
        self.assertEqual(config.kinesis.max_retries, 3)

    def test_a_kinesis_endpoint_without_a_scheme_is_https(self) -> None:
        for endpoint in ("localhost:4566", "127.0.0.1", "[::1]:4566"):
            with self.subTest(endpoint=endpoint):
                (warning,) = self.warned(records={"V": ["kinesis"]}, namespace="n", kinesis={"override_host": endpoint})
                self.assertIn(f'counts as "https://{endpoint}"', warning)
                self.assertIn(f'write "http://{endpoint}"', warning)

    def test_false_is_no_zero(self) -> None:
        self.assertEqual(
            self.refused(rate_limit={"message_interval_time": False}),
            ["rate_limit.message_interval_time: is false; must be a whole number"],
        )

    def test_whole_numbers_with_a_fraction_or_an_exponent_are_refused_as_there(self) -> None:
        for number in ("4443.0", "1e3"):
            with self.subTest(number=number):
                (problem,) = self.refused(self.text().replace("4443", number))
                self.assertRegex(problem, r"^port: is \d+\.0; must be a whole number from 0 to 65535$")


class OldKeyTests(ConfigCase):
    def test_every_old_key_is_warned_of_whatever_it_holds(self) -> None:
        self.assertGreaterEqual(
            set(OLD_KEYS), {"reliable_ack", "reliable_ack_workers", "pubsub.reliable_ack", "json_log_handler"}
        )
        for path in OLD_KEYS:
            section, _, key = path.rpartition(".")
            for value in (True, "true", 15, None, {"a": 1}):
                with self.subTest(path=path, value=value):
                    changes = {section: {key: value}} if section else {key: value}
                    sections = {section} if section else set()
                    warnings = [each for each in self.warned(**changes) if each.split(":")[0] not in sections]
                    self.assertEqual(
                        [each.partition(";")[0] for each in warnings], [f"{path}: is an old key and has no effect"]
                    )

    def test_in_another_case_too(self) -> None:
        self.assertRegex(self.warned(Reliable_Ack_Workers=15)[0], "^Reliable_Ack_Workers: is an old key")

    def test_replacements_of_old_keys(self) -> None:
        self.assertIn("use reliable_ack_sources", self.warned(reliable_ack=True)[0])
        self.assertIn("use json_log_enable", self.warned(json_log_handler=True)[0])


class NearNameTests(ConfigCase):
    def test_keys_that_are_meant_to_be_another(self) -> None:
        tls = {"ca_file": "ca.crt", "server_cert": "server.crt", "server_key": "server.key"}
        cases: list[tuple[dict[str, object], str, str]] = [
            ({"tls": tls | {"ca_cert": "x"}}, "tls.ca_cert", "ca_file"),
            ({"tls": tls | {"client_ca": "x"}}, "tls.client_ca", "ca_file"),
            ({"tls": tls | {"CA_Cert": "x"}}, "tls.CA_Cert", "ca_file"),
            ({"tls": tls | {"cert": "x"}}, "tls.cert", "server_cert"),
            ({"rate_limit": {"message_interval_time_seconds": 30}}, "rate_limit.message_interval_time_seconds",
             "message_interval_time"),
            ({"metrics": {"port": 1}}, "metrics", "monitoring.prometheus_metrics_port"),
            ({"redis": {"host": "r"}}, "redis.host", "addrs"),
            ({"mqtt": {"keepalive": 1}}, "mqtt.keepalive", "keep_alive_seconds"),
        ]  # fmt: skip
        for changes, path, meant in cases:
            with self.subTest(path=path):
                self.assertEqual(
                    self.refused(**changes), [f'{path}: is not a key of the configuration; did you mean "{meant}"?']
                )

    def test_two_spellings_of_one_key(self) -> None:
        self.assertEqual(
            self.refused(NameSpace="a", NAMESPACE="b"), ['NAMESPACE: is the same key as "namespace"; keep one of them']
        )

    def test_a_remark_has_the_form_of_remarks_as_its_remedy(self) -> None:
        self.assertIn('write "_comment"', self.refused(comment="x")[0])


class CommentTests(ConfigCase):
    def test_at_every_level(self) -> None:
        comments: dict[str, object] = {"_comment": "why", "//": ["b", {"a": 1}], "_off": None}
        text = self.text(
            **comments,
            tls={"ca_file": "ca.crt", "server_cert": "server.crt", "server_key": "server.key"} | comments,
            records={"V": ["kafka", "kinesis"], "_comment": "text"},
            namespace="n",
            reliable_ack_sources={"V": "kafka", **comments},
            kafka={"bootstrap.servers": "k:1", **comments},
            kinesis={"streams": {"V": "s", **comments}},
            identity={"issuers": {"A": "vehicle_device", "B": {"by_extended_key_usage": True, **comments}, **comments}},
            delivery={"sinks": {"kafka": {"queue_records": 5, **comments}, **comments}},
        )
        loaded = self.load(text)
        self.assertEqual(loaded.warnings, ())
        config = loaded.config
        assert config.kinesis is not None
        self.assertEqual(
            (config.kafka, config.kinesis.streams, list(config.records)), ({"bootstrap.servers": "k:1"}, {"V": "s"}, ["V"])
        )
        self.assertEqual((list(config.identity.issuers), list(config.delivery.sinks)), (["A", "B"], ["kafka"]))

    def test_comments_may_have_one_name(self) -> None:
        text = self.text(namespace="n").replace('{"port"', '{"//": "one", "//": "two", "_a": {"b": 1, "b": 2}, "port"')
        self.assertEqual(self.load(text).warnings, ())

    def test_a_route_that_is_taken_as_a_comment_is_said(self) -> None:
        (warning,) = self.warned(records={"V": ["logger"], "_V": ["logger"]})
        self.assertRegex(warning, "^records._V: is taken as a comment: no records are routed by it")

    def test_a_third_partys_settings_are_its_own(self) -> None:
        settings = {"_id": 1, "deep": [{"//": 2}]}
        config = self.load(
            records={"V": ["mine"]},
            namespace="n",
            dispatchers={"mine": {"class": "tests.support.free_form_sink:SINK", "_why": 1, "settings": settings}},
        ).config
        self.assertEqual(config.dispatchers["mine"].settings, settings)


class RealFileTests(ConfigCase):
    def test_a_file_with_much_that_the_go_server_ignores(self) -> None:
        """The shape of published files: a file is refused only where a setting would have no effect unnoticed."""
        file = {
            "host": "0.0.0.0",
            "hostname": "telemetry.example.com",
            "port": 443,
            "log_level": "debug",
            "json_log_enable": True,
            "namespace": "telemetry",
            "reliable_ack": False,
            "reliable_ack_workers": 15,
            "rate_limit": {"enabled": False, "message_limit": 100},
            "pubsub": {"gcp_project_id": "p", "reliable_ack": "true"},
            "records": {"alerts": ["logger"], "errors": ["logger"], "V": ["pubsub"]},
            "tls": {"ca_file": "ca.crt", "server_cert": "server.crt", "server_key": "server.key"},
            "ca": "-----BEGIN CERTIFICATE-----",
        }
        warned = [str(warning).split(":")[0] for warning in self.load(json.dumps(file)).warnings]
        self.assertEqual(warned, ["hostname", "reliable_ack", "reliable_ack_workers", "ca", "pubsub.reliable_ack"])
