"""The gauges of health and certificates."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import structs

from fleetgw.adapters.certificates.files import read_authorities
from fleetgw.domain.health import Phase
from fleetgw.domain.metrics import CERTIFICATE_EXPIRY, GATEWAY_READY
from fleetgw.simulator.certificates import make_authority, make_server, make_vehicle
from tests.support.reload_case import ReloadCase

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fleetgw.domain.metrics import Metric


class HealthGaugesTests(ReloadCase):
    def series(self, metric: "Metric") -> "Mapping[tuple[str, ...], float]":
        (family,) = (each for each in self.parts.metrics.snapshot() if each.metric is metric)
        return family.series

    def days_left(self) -> dict[str, float]:
        now_s = datetime.now(UTC).timestamp()
        return {name: round((expiry_s - now_s) / 86400) for (name,), expiry_s in self.series(CERTIFICATE_EXPIRY).items()}

    def test_a_gateway_is_ready_or_not(self) -> None:
        self.start()
        self.assertEqual(self.series(GATEWAY_READY), {(): 1})
        self.parts.health.phase = Phase.DRAINING
        self.assertEqual(self.series(GATEWAY_READY), {(): 0})

    def test_certificates_of_server_and_authorities(self) -> None:
        self.start()
        self.assertEqual(self.days_left(), {"tls.server_cert": 30, "tls.ca_file": 30})
        self.write_certificates(make_server(self.authority, ["localhost"], datetime.now(UTC), 90))
        self.life.reload_certificates()
        self.assertEqual(self.days_left(), {"tls.server_cert": 90, "tls.ca_file": 30})

    def test_the_earliest_authority_that_is_valid_counts(self) -> None:
        self.start()
        now, file = datetime.now(UTC), self.parts.tls.files.ca_file
        others = [make_authority(now - timedelta(days=ago), days) for ago, days in ((0, 50), (40, 20), (0, 7))]
        file.write_bytes(file.read_bytes() + b"".join(each.certificate_pem() for each in others))
        self.assertEqual(len(read_authorities(file).certificates), 4)
        self.life.reload_certificates()
        self.assertEqual(self.days_left()["tls.ca_file"], 7)

    def test_the_certificate_of_a_sink_that_is_used_no_more_is_no_number(self) -> None:
        own = make_vehicle(self.authority, "client", datetime.now(UTC), 10)
        (self.folder / "client.crt").write_bytes(own.certificate_pem())
        (self.folder / "client.key").write_bytes(own.key_pem())
        self.start()
        tls = {"server_cert": "client.crt", "server_key": "client.key"}
        self.write_config(mqtt={"broker": "127.0.0.1:1883", "topic_base": "telemetry", "client_id": "gateway", "tls": tls})
        config = self.source.load().config
        self.parts.health.certificates.use(structs.replace(config, records={"V": ["mqtt"]}))
        self.assertEqual(self.days_left()["mqtt.tls.server_cert"], 10)
        self.parts.health.certificates.use(config)
        self.assertEqual(str(self.series(CERTIFICATE_EXPIRY)["mqtt.tls.server_cert",]), "nan")
