"""The identity rules beside the golden vectors: configured issuers, and the reasons of errors."""

from unittest import TestCase

from fleetgw.domain.errors import Unauthorized
from fleetgw.domain.identity import (
    DEFAULT_ISSUERS,
    EXCLUDED_USAGE,
    ByExtendedKeyUsage,
    CertificateFacts,
    FixedClientType,
    identify,
)
from fleetgw.domain.records import PeerIdentity

ENERGY = "1.3.6.1.4.1.49279.2.5.2"


class IdentifyTests(TestCase):
    def test_configured_issuers_are_added_to_the_default_ones(self) -> None:
        issuers = DEFAULT_ISSUERS.extended(
            {"My Fleet CA": FixedClientType("vehicle_device"), "My Device CA": ByExtendedKeyUsage()}
        )
        self.assertEqual(identify(CertificateFacts("My Fleet CA", "a.b"), issuers), PeerIdentity("vehicle_device", "a-b"))
        self.assertEqual(
            identify(CertificateFacts("My Device CA", "x", (), ("1.3.6.1.5.5.7.3.2", ENERGY)), issuers),
            PeerIdentity("energy_device", "x"),
        )
        self.assertEqual(identify(CertificateFacts("TeslaMotors", "x"), issuers), PeerIdentity("vehicle_device", "x"))
        with self.assertRaisesRegex(Unauthorized, "'My Fleet CA' is not in the issuer table"):
            identify(CertificateFacts("My Fleet CA", "x"), DEFAULT_ISSUERS)

    def test_a_configured_rule_replaces_the_default_one(self) -> None:
        issuers = DEFAULT_ISSUERS.extended({"TeslaMotors": FixedClientType("other", {"Board": "board"})})
        self.assertEqual(identify(CertificateFacts("TeslaMotors", "x"), issuers).client_type, "other")
        self.assertEqual(identify(CertificateFacts("TeslaMotors", "x", ("Board",)), issuers).client_type, "board")
        self.assertEqual(identify(CertificateFacts("TeslaMotors", "x"), DEFAULT_ISSUERS).client_type, "vehicle_device")

    def test_the_reason_names_the_certificate(self) -> None:
        issuer = "Tesla Motors Product Issuing CA"
        for facts, reason in (
            (CertificateFacts("", "VIN"), "issuer '' is not in the issuer table"),
            (CertificateFacts(issuer, "VIN"), "'VIN', issued by '.*', has no extended key usage"),
            (CertificateFacts(issuer, "VIN", (), (EXCLUDED_USAGE, ENERGY)), "'VIN' is for Wi-Fi"),
            (CertificateFacts(issuer, "", (), (ENERGY,)), "issued by '.*' has no subject common name"),
        ):
            with self.subTest(reason), self.assertRaisesRegex(Unauthorized, reason):
                identify(facts, DEFAULT_ISSUERS)
