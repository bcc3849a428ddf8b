"""Certificates and credentials whose files were replaced."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

from zope.interface import alsoProvides

from fleetgw.app.service.reloading import CHECK_INTERVAL_S
from fleetgw.domain.errors import FleetgwError
from fleetgw.domain.ports import IReloadable
from fleetgw.simulator.certificates import make_authority, make_server
from tests.support.service_case import ServiceCase


class ReloadTests(ServiceCase):
    def certificate_of_new_connection(self) -> bool:
        """Whether a vehicle that trusts only our authority can connect."""
        vehicle = self.vehicle()
        return vehicle.connect()

    def test_new_files_are_for_new_connections_and_old_connections_stay_open(self) -> None:
        life = self.start()
        old = self.vehicle()
        old.connect()
        now = datetime.now(UTC)
        stranger = make_authority(now, 30, "Stranger")
        self.write_certificates(make_server(stranger, ["localhost"], now, 30))
        self.assertTrue(self.certificate_of_new_connection())
        life.reload_certificates()
        self.assertFalse(self.certificate_of_new_connection())
        self.assertEqual(self.events().count("certificates_reloaded"), 1)
        self.assertTrue(old.is_open)
        old.send("V", b"", b"1")
        old.advance(0.1)
        self.assertEqual(old.acked, [b"1"])

    def test_after_bad_files_the_old_content_stays_in_use(self) -> None:
        life = self.start()
        for name in ("server.crt", "server.key", "ca.crt"):
            with self.subTest(name):
                self.write_certificates(self.server)
                (self.folder / name).write_bytes(b"nothing of use")
                life.reload_certificates()
                self.assertTrue(self.certificate_of_new_connection())
                (self.folder / name).unlink()
                life.reload_certificates()
                self.assertTrue(self.certificate_of_new_connection())
        self.assertEqual(self.events().count("certificates_not_reloaded"), 6)
        self.assertTrue(all(fields["error"] for fields in self.log.fields_of("certificates_not_reloaded")))

    def test_a_file_that_cannot_be_used_is_logged_with_the_reason(self) -> None:
        life = self.start()
        (self.folder / "server.crt").write_bytes(b"nothing of use")
        life.reload_certificates()
        (self.folder / "server.crt").unlink()
        life.reload_certificates()
        errors = [str(fields["error"]) for fields in self.log.fields_of("certificates_not_reloaded")]
        for error, reason in zip(errors, ("no start line", "No such file or directory"), strict=True):
            self.assertIn(str(self.folder / "server.crt"), error)
            self.assertIn(reason, error)

    def test_certificates_are_checked_every_minute_and_a_failure_is_logged_once(self) -> None:
        self.start()
        self.reactor.advance(CHECK_INTERVAL_S)
        self.assertNotIn("certificates_reloaded", self.events(), "nothing has changed")
        (self.folder / "server.key").write_bytes(b"nothing of use")
        for _ in range(3):
            self.reactor.advance(CHECK_INTERVAL_S)
        self.assertEqual(self.events().count("certificates_not_reloaded"), 1)
        self.write_certificates(self.server)
        self.reactor.advance(CHECK_INTERVAL_S)
        (fields,) = self.log.fields_of("certificates_reloaded")
        self.assertIn(str(self.folder / "server.key"), cast("Any", fields["files"]))

    def test_sinks_with_files_are_reloaded_too(self) -> None:
        life = self.make()
        answers: list[Any] = [
            ["client.key"],
            [],
            FleetgwError("client.key: empty"),
            FleetgwError("client.key: empty"),
            ["a"],
        ]
        asked: list[object] = []

        def reload() -> Any:  # any outcome of a sink
            asked.append(answers[0])
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        cast("Any", self.memory).reload = reload
        alsoProvides(self.memory, IReloadable)
        self.begin(life)
        self.reactor.advance(CHECK_INTERVAL_S)
        life.reload_certificates()
        self.assertEqual(asked, [], "not before the sink has started")
        self.reactor.run()
        life.reload_certificates()
        self.assertEqual(self.log.fields_of("credentials_reloaded"), [{"dispatcher": "memory", "files": ["client.key"]}])
        for _ in range(3):
            self.reactor.advance(CHECK_INTERVAL_S)
        self.assertEqual(
            self.log.fields_of("credentials_not_reloaded"), [{"dispatcher": "memory", "error": "client.key: empty"}]
        )
        life.reload_certificates()
        self.assertEqual(self.events().count("credentials_reloaded"), 2)
        life.stop()
        self.reactor.advance(10 * CHECK_INTERVAL_S)
        self.assertEqual((len(asked), answers), (5, []), "not once it stops")
