"""Credentials that are replaced while the sink runs."""

from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.internet.interfaces import IReactorPluggableNameResolver
from zope.interface import alsoProvides
from zope.interface.verify import verifyObject

from fleetgw.adapters.secrets.secret import SecretFile
from fleetgw.adapters.sinks.mqtt.credentials import Credentials
from fleetgw.adapters.sinks.mqtt.sink import MqttSink
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.domain.errors import FleetgwError
from fleetgw.domain.ports import IHoldsCopies, IReloadable, Ready
from fleetgw.simulator.certificates import make_authority, make_vehicle
from tests.sinks.mqtt.test_unit_sink import SETTINGS, VIN, MqttCase
from tests.support.mqtt.harness import make_mqtt_record


class PasswordTests(MqttCase):
    def setUp(self) -> None:
        super().setUp()
        self.file = Path(self.enterContext(TemporaryDirectory()), "password")
        self.file.write_text("old\n")

    def with_password(self) -> MqttSink:
        return self.started(username="u", password=SecretFile.read(self.file))

    def passwords(self) -> list[bytes]:
        return [connect.rpartition(b"\0\1u")[2][2:] for connect in self.broker.connects]

    def test_the_sink_is_reloadable(self) -> None:
        verifyObject(IReloadable, self.make())
        verifyObject(IHoldsCopies, self.make())

    def test_the_file_is_read_again_before_each_connection(self) -> None:
        sink = self.with_password()
        self.file.write_text("newer\n")
        self.broker.go_away()
        self.broker.away = False
        self.advance(2)
        self.assertEqual(sink.readiness(), Ready())
        self.assertEqual(self.passwords(), [b"old", b"newer"])
        self.assertEqual(self.log.fields_of("credentials_reloaded"), [{"dispatcher": "mqtt", "files": [str(self.file)]}])

    def test_the_file_is_read_again_after_a_refusal(self) -> None:
        """The broker has the new password first, the file a moment later."""
        self.broker.connack = b"\x20\x02\0\x04"
        sink = self.with_password()
        self.file.write_text("newer\n")
        self.broker.connack = b"\x20\x02\0\0"
        self.advance(1)
        self.assertEqual(sink.readiness(), Ready())
        self.assertEqual(self.passwords(), [b"old", b"newer"])

    def test_reload_returns_the_files_and_connects_at_once(self) -> None:
        self.broker.connack = b"\x20\x02\0\x04"
        sink = self.with_password()
        for _ in range(20):
            self.advance(5)
        self.assertEqual(list(sink.reload()), [])
        self.file.write_text("newer\n")
        self.broker.connack = b"\x20\x02\0\0"
        self.assertEqual(list(sink.reload()), [str(self.file)])
        self.advance(0.01)
        self.assertEqual(sink.readiness(), Ready())
        self.assertEqual(self.passwords()[-1], b"newer")

    def test_a_file_that_cannot_be_used_leaves_the_old_content_in_use(self) -> None:
        sink = self.with_password()
        self.file.write_text("")
        for _ in range(2):
            with self.assertRaisesRegex(FleetgwError, f"{self.file.name} is empty"):
                sink.reload()
        self.broker.go_away()
        self.broker.away = False
        self.advance(2)
        self.assertEqual(self.passwords(), [b"old", b"old"])
        (event,) = [each for each in self.log.fields_of("mqtt_connection_error") if each["kind"] == "credentials"]
        self.assertIn("is empty", str(event["error"]))
        self.file.write_text("newer\n")
        self.assertEqual(list(sink.reload()), [str(self.file)])

    def test_open_sessions_continue(self) -> None:
        sink = self.with_password()
        self.file.write_text("newer\n")
        sink.reload()
        self.assertEqual(len(self.broker.connects), 1)
        self.assertEqual(len(self.dispatch(sink, make_mqtt_record(VIN))), 1)


class TlsTests(MqttCase):
    def test_certificates_are_read_again(self) -> None:
        now = datetime.now(UTC)
        folder = Path(self.enterContext(TemporaryDirectory()))
        authority = make_authority(now, 2)
        files = {name: folder / name for name in ("ca_file", "server_cert", "server_key")}

        def write() -> None:
            own = make_vehicle(authority, "gateway", now, 2)
            files["ca_file"].write_bytes(authority.certificate_pem())
            files["server_cert"].write_bytes(own.certificate_pem())
            files["server_key"].write_bytes(own.key_pem())

        write()
        settings = SETTINGS | {"broker": "mqtts://b:1", "tls": {name: str(path) for name, path in files.items()}}
        context = SinkContext("mqtt", settings, "ns", ("V",), self.reactor, self.metrics, self.log)
        alsoProvides(self.reactor, IReactorPluggableNameResolver)  # an endpoint wants one
        self.reactor.nameResolver = None  # type: ignore[attr-defined]  # which is not asked here
        credentials = Credentials(context, None)
        before = credentials.endpoint
        self.assertEqual(list(credentials.reload()), [])
        self.assertIs(credentials.endpoint, before)
        write()
        self.assertEqual(set(credentials.reload()), {str(path) for path in files.values()})
        self.assertIsNot(credentials.endpoint, before)
        kept = credentials.endpoint
        key = files["server_key"].read_bytes()
        files["server_key"].write_bytes(b"no key")
        for _ in range(2):
            with self.assertRaisesRegex(FleetgwError, "mqtt.tls"):
                credentials.reload()
            self.assertIs(credentials.endpoint, kept)
        files["server_key"].write_bytes(key)
        self.assertEqual(list(credentials.reload()), [str(files["server_key"])])
