"""Findings on a server's certificate and on a file of authorities."""

from datetime import UTC, datetime, timedelta

from fleetgw.adapters.diagnosis.certificates import authorities_findings, own_certificate_findings
from fleetgw.adapters.diagnosis.findings import good, worth_a_look
from fleetgw.domain.ports import Finding
from fleetgw.simulator.certificates import make_authority, make_server
from tests.support.doctor_case import BAD, GOOD, LOOK, FolderTestCase, verdicts

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


class CertificateTests(FolderTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.authority = make_authority(NOW, 1000, "Fleet CA")
        self.server = make_server(self.authority, ["gateway.example", "10.0.0.1"], NOW, 400)
        self.key = self.written("server.key", self.server.key_pem())

    def own(self, *pems: bytes, now: datetime = NOW) -> list[Finding]:
        return list(own_certificate_findings(self.written("server.crt", *pems), self.key, now))

    def test_as_it_should_be(self) -> None:
        certificate, chain, key = self.own(self.server.certificate_pem(), self.authority.certificate_pem())
        self.assertEqual(
            certificate,
            good("server.crt: for gateway.example, 10.0.0.1, issued by Fleet CA, valid until 2027-12-28, 400 days left"),
        )
        self.assertEqual(chain, good("chain: gateway.example < Fleet CA"))
        self.assertEqual(key, good("server.key is its key"))

    def test_dates(self) -> None:
        for days, verdict, said in (
            (380, LOOK, "20 days left"),
            (399.5, LOOK, "0 days left"),
            (401, BAD, "expired on 2027-12-28"),
            (-2, BAD, "not valid before 2026-11-22 12:00 UTC, this clock says 2026-11-21 12:00"),
        ):
            with self.subTest(days):
                finding, *_ = self.own(self.server.certificate_pem(), now=NOW + timedelta(days=days))
                self.assertEqual(finding.verdict, verdict)
                self.assertIn(said, finding.what)
                self.assertNotEqual(finding.fix, "")

    def test_chain_out_of_order(self) -> None:
        other = make_authority(NOW, 1000, "Another CA")
        _, chain, _ = self.own(self.server.certificate_pem(), other.certificate_pem())
        self.assertEqual(chain.verdict, BAD)
        self.assertIn("Another CA did not issue gateway.example", chain.what)

    def test_key_of_another(self) -> None:
        self.written("server.key", self.authority.key_pem())
        self.assertEqual(verdicts(self.own(self.server.certificate_pem())), [GOOD, GOOD, BAD])
        self.written("server.key", b"no key")
        self.assertEqual(verdicts(self.own(self.server.certificate_pem())), [GOOD, GOOD, BAD])

    def test_no_certificate(self) -> None:
        self.assertEqual(verdicts(self.own(b"nothing")), [BAD])
        self.assertEqual(verdicts(list(own_certificate_findings(self.folder / "lost.crt", self.key, NOW))), [BAD])

    def test_authorities(self) -> None:
        old = make_authority(NOW - timedelta(days=50), 40, "Old CA")
        both = self.written("both.crt", self.authority.certificate_pem(), old.certificate_pem())
        present, expired = authorities_findings(both, NOW)
        self.assertIn("1 authority, the first to expire is Fleet CA", present.what)
        self.assertEqual(expired, worth_a_look("both.crt: expired: Old CA", "replace or remove them"))
        (none,) = authorities_findings(self.written("old.crt", old.certificate_pem()), NOW)
        self.assertEqual(none.verdict, BAD)
