"""No secret is shown, neither in the effective configuration nor in an error, at any place of a file."""

import json
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import TestCase

import msgspec

from fleetgw.adapters.secrets.masking import is_secret_name, masked
from fleetgw.adapters.secrets.secret import Secret
from fleetgw.adapters.settings.wording import bare
from fleetgw.app.config import LoadedConfig, effective_config, render_effective, render_problems, secrets_in
from fleetgw.app.config.sections import Config
from fleetgw.app.doctor.report import refusal_as_json
from fleetgw.domain.errors import ConfigurationError
from tests.support.config_case import ConfigCase

MARK = "s3cr3t-Marker"

FORMS = (
    f"tcp://user:{MARK}@host:1883",
    f"tcp://:{MARK}@host:1883",
    f"https://{MARK}@host/path",
    f"tcp://user:{MARK}/with@odd:signs@host:1883/and/a/long/tail/so/that/it/is/cut/somewhere",
    f"user:{MARK}@host:1883",
    f"https://host/?a=b&password={MARK}&c=d",
    f"https://host/?api_key={MARK}",
    f'module required username="u" password="{MARK}";',
    f"-----BEGIN RSA PRIVATE KEY-----\n{MARK}\n-----END RSA PRIVATE KEY-----",
)
"""Texts that show a secret by their form, whatever key they stand under."""

SECTIONS: dict[str, Any] = {  # whatever JSON holds
    "namespace": "n",
    "records": {"V": ["kafka", "redis", "mqtt", "zmq", "pubsub", "kinesis", "mine"]},
    "kafka": {"bootstrap.servers": "k:1"},
    "redis": {"addrs": ["r:1"], "publish_vin_topics": True, "sentinel": {"master_name": "m"}},
    "mqtt": {"broker": "m:1", "topic_base": "t"},
    "zmq": {"addr": "tcp://*:1"},
    "pubsub": {"gcp_project_id": "p"},
    "kinesis": {"streams": {"V": "s"}},
    "airbrake": {"host": "https://h"},
    "monitoring": {"statsd": {"host": "s:1"}},
    "dispatchers": {"mine": {"class": "tests.support.free_form_sink:SINK", "settings": {}}},
}


def texts(section: type[msgspec.Struct], within: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], bool]]:
    """Every place for a text in a section, and whether its type makes it a secret."""
    for field in msgspec.structs.fields(section):
        place, kind = (*within, field.encode_name), bare(field.type)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            yield from texts(kind, place)
        elif kind in (str, Secret) or (typing.get_origin(kind) is tuple):
            yield place, kind is Secret


class NamesTests(TestCase):
    def test_secrets(self) -> None:
        for name in (
            *(
                "password",
                "PASSWORD",
                "db_passwd",
                "pwd",
                "clientSecret",
                "secret-token",
                "api_key",
                "apiKey",
                "key",
                "ApiKey",
            ),
            *("aws_secret_access_key", "ssl.key.pem", "ssl.key.password", "ssl.keystore.password", "sasl.password"),
            *("sasl.jaas.config", "sasl.oauthbearer.config", "sasl.oauthbearer.client.secret", "credentials", "license_key"),
            *("private.key", "auth", "http.authorization", "connection_string", "sas_key", "dsn", "encryptionKey"),
        ):
            with self.subTest(name=name):
                self.assertTrue(is_secret_name(name))

    def test_no_secrets(self) -> None:
        for name in (
            *("url", "host", "ssl.key.location", "partition_key", "routingKey", "key.serializer", "public_key", "keepalive"),
            *("sasl.username", "sasl.mechanism", "security.protocol", "bootstrap.servers", "keyspace", "monkey", "key_file"),
        ):
            with self.subTest(name=name):
                self.assertFalse(is_secret_name(name))


class MaskedTests(TestCase):
    def test_forms(self) -> None:
        for text in FORMS:
            with self.subTest(text=text):
                self.assertNotIn(MARK, masked(text))

    def test_text_without_secrets_stays(self) -> None:
        self.assertEqual(masked(f"tcp://user:{MARK}@host:1883"), "tcp://user:********@host:1883")
        self.assertEqual(masked(f"user:{MARK}@host:1883"), "user:********@host:1883")
        self.assertEqual(
            masked("see http://host/?password=x&a=b; mend it"), "see http://host/?password=********&a=b; mend it"
        )
        for text in ("tcp://host:1883", "a@example.com", "k-1:9092,k-2:9092", "sport = :443", "arn:aws:iam::1:role/x", ""):
            self.assertEqual(masked(text), text)

    def test_the_path_of_a_setting_is_no_key(self) -> None:
        for path in ("tls.server_cert", "records.V[0]", "operations.hosts[12]", "kafka.bootstrap.servers"):
            line = f'level=warning msg=configuration_warning key={path} warning="mend it"'
            self.assertEqual(masked(line), line)
        for secret in ("hunter", "hunter2.b", "tls.server_cert2", '"tls.server_cert"', "A.b"):
            self.assertNotIn(secret, masked(f"key={secret} password={secret}"))
        self.assertEqual(masked("api_key=a.b key=a.b token=a.b"), "api_key=******** key=a.b token=********")

    def test_a_long_password(self) -> None:
        long = "p" * 10_000
        self.assertEqual(masked(f"at tcp://user:{long}@host"), "at tcp://user:********@host")
        self.assertEqual(masked(f"at user:{long}@host"), "at user:********@host")
        self.assertEqual(masked("a://" * 3 + "b:c@d e:f@g"), "a://a:********@d e:********@g")

    def test_known_ones(self) -> None:
        self.assertEqual(masked("said hunter2 twice: hunter2", ["hunter2", "a"]), "said ******** twice: ********")


class SecrecyTests(ConfigCase):
    def said_of(self, tree: dict[str, Any], environ: dict[str, str] | None = None) -> tuple[str, LoadedConfig | None]:
        """All errors and warnings about a file."""
        try:
            loaded = self.load(self.text(**tree), environ)
        except ConfigurationError as error:
            return render_problems(error.problems) + refusal_as_json("f", error.problems) + str(error), None
        shown = render_effective(loaded.config) + json.dumps(effective_config(loaded.config))
        return shown + render_problems((), loaded.warnings) + "".join(map(str, loaded.warnings)), loaded

    def changed(self, place: tuple[str, ...], value: object) -> dict[str, Any]:
        tree: dict[str, Any] = json.loads(json.dumps(SECTIONS))
        inner = tree
        for key in place[:-1]:
            inner = inner.setdefault(key, {})
        inner[place[-1]] = value
        return tree

    def test_the_file_itself_is_good(self) -> None:
        self.load(**SECTIONS)

    def test_every_place_for_a_text(self) -> None:
        places = [place for place in texts(Config) if place[0][0] not in ("tls", "$schema")]
        self.assertGreater(len(places), 25)
        self.assertGreaterEqual(sum(secret for _, secret in places), 4)
        for place, is_secret in places:
            for text in (*FORMS, MARK) if is_secret else FORMS:
                for value in (text, [text], {"a": text}) if text in (FORMS[0], MARK) else (text,):
                    with self.subTest(place=place, value=value):
                        self.assertNotIn(MARK, self.said_of(self.changed(place, value))[0])

    def test_every_section_in_place_of_which_there_is_a_text(self) -> None:
        for section in SECTIONS:
            for text in FORMS:
                with self.subTest(section=section, text=text):
                    self.assertNotIn(MARK, self.said_of(SECTIONS | {section: text})[0])

    def test_free_form_settings(self) -> None:
        for section in (("kafka",), ("dispatchers", "mine", "settings")):
            for name in ("password", "sasl.jaas.config", "sasl.password", "ssl.key.pem", "api_key", "token", "key"):
                for value in (MARK, [MARK], [MARK, "b"], {"deep": MARK}, {"env": "PW"}, {"file": "pw"}):
                    with self.subTest(section=section, name=name, value=value):
                        (self.folder / "pw").write_text(MARK)
                        said, _ = self.said_of(self.changed((*section, name), value), {"PW": MARK})
                        self.assertNotIn(MARK, said)
            for text in FORMS:
                with self.subTest(section=section, text=text):
                    self.assertNotIn(MARK, self.said_of(self.changed((*section, "client.id"), text))[0])

    def test_named_secrets_are_masked_under_any_key(self) -> None:
        for section in (("kafka", "client.id"), ("dispatchers", "mine", "settings", "plain")):
            with self.subTest(section=section):
                said, loaded = self.said_of(self.changed(section, {"env": "PW"}), {"PW": MARK})
                self.assertNotIn(MARK, said)
                assert loaded is not None
                self.assertEqual(secrets_in(loaded.config), {MARK})

    def test_a_fault_that_quotes_a_secret(self) -> None:
        """librdkafka names the value that it does not take."""
        said, loaded = self.said_of(self.changed(("kafka", "acks"), {"env": "PW"}), {"PW": MARK})
        self.assertIsNone(loaded)
        self.assertIn("acks", said)
        self.assertNotIn(MARK, said)

    def test_sinks_get_it_in_clear(self) -> None:
        broker = f"tcp://user:{MARK}@host:1883"
        self.assertIn(MARK, str(self.load(**self.changed(("kafka", "client.id"), broker)).config.kafka))

    def test_the_environments_secrets_are_known(self) -> None:
        loaded = self.load(self.text(**SECTIONS), {"REDIS_PASSWORD": MARK, "AIRBRAKE_PROJECT_KEY": "other-one"})
        self.assertEqual(secrets_in(loaded.config), {MARK, "other-one"})

    def test_paths_are_shown(self) -> None:
        shown: Any = effective_config(self.load().config)  # whatever JSON holds
        self.assertEqual(Path(shown["tls"]["server_key"]), self.folder / "server.key")
