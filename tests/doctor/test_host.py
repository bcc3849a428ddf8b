"""Checks of this machine: ports, clock, memory, open files."""

import socket
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from resource import RLIM_INFINITY
from threading import Thread
from unittest import TestCase

import msgspec

from fleetgw.adapters.ingress.hot_path import DESCRIPTION
from fleetgw.app.config.limits import Limits
from fleetgw.app.config.sections import Config
from fleetgw.app.doctor.host import (
    clock_findings,
    host_checks,
    memory_findings,
    open_file_findings,
    operator_findings,
    port_findings,
)
from fleetgw.simulator.certificates import make_authority
from fleetgw.testing.sink_doubles import ThreadlessReactor
from tests.support.doctor_case import BAD, GOOD, LOOK, AtOnce, ConfiguredTestCase, verdicts
from tests.support.free_ports import free_port


class OpenFilesTests(TestCase):
    def test_limits(self) -> None:
        for max_connections, limits, verdict, said in (
            (0, (RLIM_INFINITY, RLIM_INFINITY), GOOD, "no limit"),
            (0, (1024, RLIM_INFINITY), GOOD, "no limit"),
            (0, (1024, 65536), GOOD, "room for about 60984 vehicles"),
            (0, (1024, 1024), LOOK, "room for about 576 vehicles"),
            (5000, (1024, 65536), GOOD, "max_connections is 5000"),
            (5000, (1024, 4096), BAD, "ulimit -n 7123 as root"),
            (5000, (4096, 4096), BAD, "LimitNOFILE=7123"),
        ):
            with self.subTest(limits=limits, max_connections=max_connections):
                (finding,) = open_file_findings(Limits(max_connections=max_connections), limits)
                self.assertEqual(finding.verdict, verdict)
                self.assertIn(said, f"{finding.what} {finding.fix}")

    def test_memory(self) -> None:
        config = {
            "port": 4443,
            "records": {"V": ["logger", "sqlite"]},
            "tls": {"ca_file": "a", "server_cert": "b", "server_key": "c"},
        }
        for delivery, limit_mib, said in (
            ({"memory_mib": 600}, 1024, None),
            ({"memory_mib": 800}, 1024, "800 MiB together (delivery.memory_mib) of the 1024 MiB"),
            ({"memory_mib": 500}, 1024, "512 MiB of queue_bytes"),
            ({"memory_mib": 500, "queue_bytes": 1 << 20}, None, None),
        ):
            with self.subTest(delivery, limit_mib=limit_mib):
                made = msgspec.convert(config | {"delivery": delivery}, Config, dec_hook=lambda _, value: Path(value))
                findings = [*memory_findings(made, limit_mib and limit_mib << 20)]
                self.assertEqual(verdicts(findings), [LOOK] if said else [])
                self.assertIn(said or "", "".join(finding.what for finding in findings))


class StatusPage(BaseHTTPRequestHandler):
    said = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.said)

    def log_message(self, *args: object) -> None:
        pass


class HostTests(ConfiguredTestCase):
    def test_free_ports(self) -> None:
        config = self.loaded(status_port=free_port()).config
        self.assertEqual(verdicts(list(port_findings(config))), [GOOD, GOOD])

    def test_every_port_of_the_configuration(self) -> None:
        ports = {"monitoring": {"prometheus_metrics_port": free_port(), "profiler_port": free_port()}}
        findings = list(port_findings(self.loaded(status_port=free_port(), **ports).config))
        keys = ["port", "status_port", "monitoring.prometheus_metrics_port", "monitoring.profiler_port"]
        self.assertEqual([finding.what.split()[0] for finding in findings], keys)

    def test_taken_port(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            (finding,) = port_findings(self.loaded(port=port).config)
        self.assertEqual(finding.verdict, BAD)
        self.assertIn(f"port 127.0.0.1:{port} is taken", finding.what)
        self.assertIn(f"sport = :{port}", finding.fix)

    def test_ports_of_a_gateway_that_runs(self) -> None:
        status = HTTPServer(("127.0.0.1", 0), StatusPage)
        self.addCleanup(status.server_close)
        Thread(target=status.serve_forever, daemon=True).start()
        self.addCleanup(status.shutdown)
        for said, verdict in ((b"ok", GOOD), (b"welcome to my page", BAD)):
            StatusPage.said = said
            with socket.create_server(("127.0.0.1", 0)) as door:
                config = self.loaded(port=door.getsockname()[1], status_port=status.server_port).config
                self.assertEqual(verdicts(list(port_findings(config))), [verdict, verdict], said)

    def test_access_of_operators(self) -> None:
        token, hosts = {"token": "0123456789abcdef"}, {"hosts": ["gw.example.com"]}
        for port, operations, expected, text in (
            (0, {}, [GOOD], "no status port"),
            (8080, {}, [GOOD, LOOK], "set operations.token"),
            (8080, token, [GOOD, GOOD], "clients of this machine alone"),
            (8080, token | hosts, [LOOK, GOOD], 'under "gw.example.com", and the status port has no TLS'),
        ):
            with self.subTest(port=port, operations=operations):
                findings = list(operator_findings(self.loaded(status_port=port, operations=operations).config))
                self.assertEqual(verdicts(findings), expected)
                self.assertIn(text, " ".join(f"{each.what} {each.fix}" for each in findings))

    def test_address_of_another_machine(self) -> None:
        (finding,) = port_findings(self.loaded(host="192.0.2.1").config)
        self.assertEqual((finding.verdict, finding.fix), (BAD, "name an address of this machine"))

    def test_clock(self) -> None:
        config = self.loaded().config
        self.assertEqual(verdicts(list(clock_findings(config))), [GOOD])
        (finding,) = clock_findings(config, datetime(2020, 1, 1, tzinfo=UTC))
        self.assertEqual(finding.verdict, BAD)
        self.assertIn("2020-01-01 00:00:00 UTC, but a certificate was made on", finding.what)

    def test_all_of_it(self) -> None:
        reactor = ThreadlessReactor()
        loaded = self.loaded(reliable_ack=True)
        self.assertEqual(len(loaded.warnings), 1)
        subjects = {}
        for check in host_checks(loaded, reactor):
            check.probe._make_worker = AtOnce
            answer = check.probe.diagnose()
            reactor.advance(0)
            subjects[check.subject] = self.successResultOf(answer)
        self.assertEqual(verdicts(subjects["configuration"]), [GOOD, LOOK])
        self.assertIn("reliable_ack", subjects["configuration"][1].what)
        self.assertEqual(verdicts(subjects["server certificate"]), [GOOD] * 3)
        self.assertEqual([finding.what for finding in subjects["hot path"]], [f"in {DESCRIPTION}"])
        self.assertEqual(verdicts(subjects["hot path"]), [GOOD])
        self.assertEqual(len(subjects), 8)

    def test_authorities_that_let_no_vehicle_in(self) -> None:
        """Where the authorities are looked at, and nowhere else."""
        reactor = ThreadlessReactor()
        own = self.folder / "own.crt"
        own.write_bytes(make_authority(datetime.now(UTC), 10, "My CA").certificate_pem())
        loaded = self.loaded(tls={"ca_file": str(own), "server_cert": "server.crt", "server_key": "server.key"})
        found = {}
        for check in host_checks(loaded, reactor):
            if check.subject in ("configuration", "vehicles' authorities"):
                check.probe._make_worker = AtOnce
                answer = check.probe.diagnose()
                reactor.advance(0)
                found[check.subject] = self.successResultOf(answer)
        self.assertEqual(verdicts(found["configuration"]), [GOOD])
        self.assertEqual(verdicts(found["vehicles' authorities"]), [GOOD, LOOK])
        self.assertIn("fetch-ca", found["vehicles' authorities"][1].fix)
