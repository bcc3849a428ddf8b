"""Findings on hosts, ports and TLS."""

import socket

from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.diagnosis.findings import good, will_not_work, worth_a_look
from fleetgw.adapters.diagnosis.network import check_alternatives, check_reachable, check_tls, guess_server
from tests.support.doctor_case import BAD, verdicts
from tests.support.free_ports import free_port


class NetworkTests(SynchronousTestCase):
    def test_nothing_listens(self) -> None:
        port = free_port()
        with socket.create_server(("127.0.0.1", port)):
            self.assertEqual(list(check_reachable("127.0.0.1", port)), [good(f"127.0.0.1:{port} takes connections")])
        (finding,) = check_reachable("127.0.0.1", port)
        self.assertEqual(finding.verdict, BAD)
        self.assertIn("refuses connections", finding.what)
        self.assertEqual(guess_server("127.0.0.1", port), "it does not say what it is")
        self.assertEqual(verdicts(list(check_tls("127.0.0.1", port, None, "localhost"))), [BAD])

    def test_a_name_that_no_host_can_have(self) -> None:
        (finding,) = check_reachable("a..b", 1)
        self.assertEqual(finding.verdict, BAD)
        self.assertIn("a..b cannot be resolved", finding.what)

    def test_one_of_several_is_enough(self) -> None:
        def look(place: str):
            yield good(place) if place == "a" else will_not_work(place, "start it")
            return place == "a"

        self.assertEqual(list(check_alternatives(["b", "a"], look)), [good("a"), worth_a_look("b", "start it")])
        self.assertEqual(verdicts(list(check_alternatives(["b", "c"], look))), [BAD, BAD])
