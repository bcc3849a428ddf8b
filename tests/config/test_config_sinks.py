"""The sections of routed sinks, and the certificates."""

import json
from datetime import timedelta

from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from fleetgw.simulator.certificates import make_authority, make_server
from tests.support.config_case import NOW, ConfigCase

KEY = "0123456789" * 4


class SectionTests(ConfigCase):
    def paths_refused(self, sink: str, section: dict[str, object], environ: dict[str, str] | None = None) -> list[str]:
        problems = self.refused(None, environ, namespace="n", records={"V": [sink]}, **{sink: section})
        return [problem.split(": ")[0] for problem in problems]

    def accept(self, sink: str, section: dict[str, object], environ: dict[str, str] | None = None) -> None:
        loaded = self.load(None, environ, namespace="n", records={"V": [sink]}, **{sink: section})
        self.assertEqual(loaded.warnings, ())

    def test_redis(self) -> None:
        self.accept("redis", {"addrs": ["a:6379", "[::1]:6379"], "publish_vin_topics": True, "pool": {"read_timeout": -1}})
        cases: list[tuple[dict[str, object], list[str]]] = [
            ({}, ["redis.addrs", "redis"]),
            ({"addrs": ["a", "b:0"], "subscriber_set_prefix": "s"}, ["redis.addrs[0]", "redis.addrs[1]"]),
            ({"addrs": ["a:1"], "publish_vin_topics": True, "publish_timeout": 5}, ["redis.publish_timeout"]),
            ({"addrs": ["a:1"], "publish_vin_topics": True, "tls": {"ca_file": "none"}}, ["redis.tls.ca_file"]),
            ({"addrs": ["a:1"], "publish_vin_topics": True, "tls": {"server_cert": "server.crt"}}, ["redis.tls"]),
            ({"addrs": ["a:1"], "publish_vin_topics": True, "pool": {"pool_size": -1}}, ["redis.pool.pool_size"]),
        ]
        for section, expected in cases:
            with self.subTest(section=section):
                self.assertEqual(self.paths_refused("redis", section), expected)

    def test_kinesis(self) -> None:
        for endpoint in ("", "http://127.0.0.1:4566", "https://kinesis.example/a"):
            self.accept("kinesis", {"override_host": endpoint})
        for endpoint in ("local host:4566", "localhost:port", "tcp://127.0.0.1:4566", "http://"):
            with self.subTest(endpoint=endpoint):
                self.assertEqual(self.paths_refused("kinesis", {"override_host": endpoint}), ["kinesis.override_host"])

    def test_mqtt(self) -> None:
        self.accept("mqtt", {"broker": "tcp://b:1883", "topic_base": "t"})
        self.assertEqual(self.paths_refused("mqtt", {}), ["mqtt.broker"])
        self.assertEqual(
            self.paths_refused("mqtt", {"broker": "b", "topic_base": "a/#"}), ["mqtt.broker", "mqtt.topic_base"]
        )

    def test_mqtt_topic_base_that_a_broker_does_not_take(self) -> None:
        for topic_base in ("a+", "#", "a\0b", "tab\there", "\x7f", "\x85", "\uffff", "\U0001fffe"):
            with self.subTest(topic_base=topic_base):
                section = {"broker": "b:1", "topic_base": topic_base}
                self.assertEqual(self.paths_refused("mqtt", section), ["mqtt.topic_base"])
        self.accept("mqtt", {"broker": "b:1", "topic_base": "$aws/rules/é"})

    def test_mqtt_times_of_zero(self) -> None:
        times = ("connect_timeout_ms", "publish_timeout_ms", "disconnect_timeout_ms", "connect_retry_interval_ms")
        self.accept("mqtt", {"broker": "b:1", "topic_base": "t"} | dict.fromkeys((*times, "keep_alive_seconds"), 0))

    def test_mqtt_over_tls(self) -> None:
        files = {"ca_file": "ca.crt", "server_cert": "server.crt", "server_key": "server.key"}
        for section in (
            {"broker": "mqtts://b:8883"},
            {"broker": "tls://b:8883", "tls": {}},
            {"broker": "ssl://b:8883"},
            {"broker": "mqtts://b:8883", "tls": {}},
            {"broker": "b:8883", "tls": files, "protocol_version": "5"},
        ):
            self.accept("mqtt", {"topic_base": "t"} | section)
        cases: list[tuple[dict[str, object], list[str]]] = [
            ({"broker": "tcp://b:1", "tls": {}}, ["mqtt.broker"]),
            ({"broker": "http://b:1"}, ["mqtt.broker"]),
            ({"broker": "b:1", "tls": {"server_cert": "server.crt"}}, ["mqtt.tls"]),
            ({"broker": "b:1", "tls": {"ca_file": "server.key"}}, ["mqtt.tls.ca_file"]),
            ({"broker": "b:1", "protocol_version": "4"}, ["mqtt.protocol_version"]),
        ]
        for section, expected in cases:
            with self.subTest(section=section):
                self.assertEqual(self.paths_refused("mqtt", {"topic_base": "t"} | section), expected)

    def test_zmq(self) -> None:
        (self.folder / "keys").write_text(json.dumps({"public": KEY, "secret": KEY}))
        (self.folder / "allowed").write_text(json.dumps([KEY]))
        (self.folder / "cut").write_text('{"pub')
        paths = {"server_key_json_path": "keys", "allowed_public_keys_json_path": "allowed"}
        self.accept("zmq", {"addr": "tcp://*:5284"} | paths)
        cases: list[tuple[dict[str, object], list[str]]] = [
            ({}, ["zmq.addr"]),
            ({"addr": "*:5284"}, ["zmq.addr"]),
            ({"addr": "ipc://x", "server_key_json_path": "cut"}, ["zmq.server_key_json_path"]),
            ({"addr": "ipc://x", "server_key_json_path": "allowed"}, ["zmq.server_key_json_path"]),
            ({"addr": "ipc://x", "allowed_public_keys_json_path": "allowed"}, ["zmq.allowed_public_keys_json_path"]),
            (
                {"addr": "ipc://x", "server_key_json_path": "keys", "allowed_public_keys_json_path": "keys"},
                ["zmq.allowed_public_keys_json_path"],
            ),
        ]
        for section, expected in cases:
            with self.subTest(section=section):
                self.assertEqual(self.paths_refused("zmq", section), expected)

    def test_pubsub(self) -> None:
        credentials = {"GOOGLE_APPLICATION_CREDENTIALS": "server.key"}
        self.accept("pubsub", {"gcp_project_id": "p"}, credentials)
        self.assertEqual(self.paths_refused("pubsub", {}), ["pubsub.gcp_project_id"])
        both = credentials | {"PUBSUB_EMULATOR_HOST": "h:1"}
        self.assertEqual(self.paths_refused("pubsub", {"gcp_project_id": "p"}, both), ["pubsub"])
        missing = {"GOOGLE_APPLICATION_CREDENTIALS": "none.json"}
        self.assertEqual(self.paths_refused("pubsub", {"gcp_project_id": "p"}, missing), ["pubsub"])

    def test_a_section_that_nothing_is_routed_to_is_checked_for_its_types_alone(self) -> None:
        self.assertEqual(
            self.warned(redis={}), ["redis: is configured, but nothing is routed to it; route records to it, or remove it"]
        )
        self.assertEqual(self.refused(redis={"db": "0"})[0].split(": ")[0], "redis.db")


class CertificateTests(ConfigCase):
    def tls_refused(self, **files: str) -> list[str]:
        tls = {"ca_file": "ca.crt", "server_cert": "server.crt", "server_key": "server.key"}
        return [problem.split(";")[0] for problem in self.refused(tls=tls | files)]

    def test_files_of_the_wrong_kind(self) -> None:
        (self.folder / "text").write_text("not PEM\n")
        (self.folder / "empty").write_text("")
        (self.folder / "folder").mkdir()
        cases = {
            "none": "cannot be read: no such file or directory",
            "folder": "cannot be read: is a directory",
            "empty": "is empty",
        }
        for file, what in cases.items():
            for key in ("ca_file", "server_cert", "server_key"):
                with self.subTest(key=key, file=file):
                    self.assertEqual(self.tls_refused(**{key: file}), [f"tls.{key}: {file} {what}"])
        self.assertEqual(self.tls_refused(ca_file="text"), ["tls.ca_file: text holds no readable certificate"])
        self.assertEqual(self.tls_refused(server_key="text"), ["tls.server_key: text holds no readable private key"])
        self.assertEqual(
            self.tls_refused(server_cert="server.key", server_key="server.crt"),
            [
                "tls.server_cert: server.key holds a private key, no certificate: are the two swapped?",
                "tls.server_key: server.crt holds a certificate, no key: are the two swapped?",
            ],
        )

    def test_a_path_that_is_none(self) -> None:
        self.assertEqual(self.tls_refused(ca_file="a\0b"), [r'tls.ca_file: is "a\u0000b" (text), which holds a NUL'])
        problems = self.refused(redis={"password": {"file": "a\0b"}})
        self.assertEqual(problems[0].split(";")[0], "redis.password: a\0b cannot be read: embedded null byte")

    def test_a_key_of_another_certificate(self) -> None:
        (self.folder / "other.key").write_bytes(make_authority(NOW, 1).key_pem())
        self.assertEqual(
            self.tls_refused(server_key="other.key"), ["tls.server_key: other.key is not the key of server.crt"]
        )

    def test_an_encrypted_key(self) -> None:
        key = make_authority(NOW, 1).key
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password"))
        (self.folder / "server.key").write_bytes(pem)
        self.assertEqual(self.tls_refused(), ["tls.server_key: server.key is encrypted"])

    def test_expiry(self) -> None:
        authority = make_authority(NOW, 365)
        cases: list[tuple[int, int, str]] = [
            (-100, 99, "warned: tls.server_cert: the certificate expired on 2026-10-31: no vehicle connects"),
            (
                5,
                100,
                "warned: tls.server_cert: the certificate is not valid before 2026-11-05 00:00 UTC: no vehicle connects",
            ),
            (0, 29, "warned: tls.server_cert: the certificate expires on 2026-11-30"),
            (0, 31, ""),
        ]
        for made_in_days, valid_days, expected in cases:
            server = make_server(authority, ["localhost"], NOW + timedelta(days=made_in_days), valid_days)
            (self.folder / "server.crt").write_bytes(server.certificate_pem())
            (self.folder / "server.key").write_bytes(server.key_pem())
            with self.subTest(expected):
                self.assertEqual([f"warned: {each.split(';')[0]}" for each in self.warned()], [expected] if expected else [])
