"""The broker's address, in all forms of the Go server's client."""

from unittest import TestCase

from fleetgw.adapters.sinks.mqtt.broker_url import UnusableBroker, read_broker, split_user_info
from fleetgw.adapters.sinks.mqtt.settings import read_settings
from fleetgw.domain.errors import ConfigurationError


class BrokerTests(TestCase):
    def test_valid_forms(self) -> None:
        for text, host, port, path, tls in (
            ("b:1", "b", 1, "", False),
            (":1883", "127.0.0.1", 1883, "", False),
            ("tcp://:1883", "127.0.0.1", 1883, "", False),
            ("TCP://b:1", "b", 1, "", False),
            ("mqtt://b:1/", "b", 1, "", False),
            ("tcp://b:1/ignored", "b", 1, "", False),
            ("b:1/", "b", 1, "", False),
            ("[::1]:1883", "::1", 1883, "", False),
            ("mqtts://[2001:db8::1]:8883/", "2001:db8::1", 8883, "", True),
            ("ssl://b:1", "b", 1, "", True),
            ("tls://b:1", "b", 1, "", True),
            ("tcps://b:1", "b", 1, "", True),
            ("mqtt+ssl://b:1", "b", 1, "", True),
            ("ws://b:1", "b", 1, "/", False),
            ("ws://b", "b", 80, "/", False),
            ("wss://b", "b", 443, "/", True),
            ("ws://[::1]", "::1", 80, "/", False),
            ("wss://b:1/mqtt?a=b#c", "b", 1, "/mqtt?a=b", True),
        ):
            with self.subTest(text=text):
                broker = read_broker(text)
                self.assertEqual((broker.host, broker.port, broker.path, broker.is_tls), (host, port, path, tls))
                self.assertEqual(broker.is_websocket, bool(path))

    def test_invalid_forms(self) -> None:
        for text in (
            "", "b", "b:", ":", "tcp://", "tcp://b", "://b:1", "http://b:1", "b:0", "b:65536", "b:-1", "::1:1883", "::1",
            "[]:1", "a b:1", "ws://b/a b", "tcp://user:secret@", "x://user:secret@b:1", "user:secret@b",
        ):  # fmt: skip
            with self.subTest(text=text), self.assertRaises(UnusableBroker) as caught:
                read_broker(text)
            self.assertNotIn("secret", str(caught.exception))

    def test_user_and_password(self) -> None:
        """As in the Go server's client: nothing is percent-encoded, the last @ counts."""
        for text, user, password in (
            ("tcp://u:p@b:1", "u", "p"),
            ("u:p@b:1", "u", "p"),
            ("tcp://u@b:1", "u", None),
            ("tcp://u:p:q@r%41@b:1/", "u", "p:q@r%41"),
            ("wss://u:p@b:1/x@y", "u", "p"),
            ("b:1", None, None),
            ("ws://b:1/a@b", None, None),
        ):
            with self.subTest(text=text):
                broker = read_broker(text)
                self.assertEqual((broker.host, broker.username, broker.password), ("b", user, password))
                self.assertEqual(split_user_info(text)[1:], (user, password))
                self.assertNotIn(f"{user}:", split_user_info(text)[0])

    def test_the_url_takes_precedence(self) -> None:
        settings = read_settings("mqtt", {"broker": "tcp://u:p@b:1", "username": "other", "password": "other"})
        self.assertEqual((settings.username, settings.password), ("u", "p"))
        settings = read_settings("mqtt", {"broker": "tcp://u@b:1", "username": "other", "password": "other"})
        self.assertEqual((settings.username, settings.password), ("u", "other"))

    def test_passwords_are_never_shown(self) -> None:
        self.assertNotIn("secret", repr(read_broker("tcp://u:secret@b:1")))
        self.assertNotIn("secret", repr(read_settings("mqtt", {"broker": "tcp://u:secret@b:1"})))
        self.assertNotIn("secret", repr(read_settings("mqtt", {"broker": "b:1", "password": "secret"})))
        with self.assertRaises(ConfigurationError) as caught:
            read_settings("mqtt", {"broker": "tcp://u:secret@b"})
        self.assertNotIn("secret", str(caught.exception))

    def test_address_for_people(self) -> None:
        self.assertEqual(read_settings("mqtt", {"broker": "u:p@b:1"}).address, "b:1")
        self.assertEqual(read_settings("mqtt", {"broker": "[::1]:1"}).address, "[::1]:1")

    def test_empty_topic_base(self) -> None:
        self.assertEqual(read_settings("mqtt", {"broker": "b:1", "topic_base": ""}).topic_base, "")
