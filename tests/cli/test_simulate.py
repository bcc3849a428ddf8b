import contextlib
import io
import json
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from unittest import TestCase as PlainTestCase

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.trial.unittest import TestCase

from fleetgw.cli import build_parser, main
from fleetgw.simulator.certificate_folder import CertificateFolder
from fleetgw.simulator.certificates import read_credential
from tests.support.deadline import DEADLINE_S
from tests.support.stub_gateway import StubGateway, ack


class Command(ProcessProtocol):
    """A ``fleetgw`` process; ``ended`` fires with exit status, output, errors."""

    def __init__(self):
        self.ended = Deferred()
        self.out = self.err = b""

    def outReceived(self, data):
        self.out += data

    def errReceived(self, data):
        self.err += data

    def processEnded(self, reason):
        self.ended.callback((reason.value.exitCode, self.out.decode(), self.err.decode()))


class SimulateTests(TestCase):
    """The whole command as a process, against a server on loopback."""

    timeout = DEADLINE_S

    def setUp(self):
        self.path = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.path)
        folder = CertificateFolder(self.path / "certs")
        folder.ensure_all(vehicles=1)
        server = read_credential(folder.server_file.read_bytes(), folder.server_file.with_suffix(".key").read_bytes())
        self.gateway = StubGateway()
        self.wrapped = self.gateway.over_tls(server, folder.authority_file.read_bytes())
        self.url = f"wss://localhost:{self.listen('127.0.0.1')}"

    def listen(self, address):
        port = reactor.listenTCP(0, self.wrapped, interface=address)
        self.addCleanup(port.stopListening)
        return port.getHost().port

    def spawn(self, *arguments):
        command = Command()
        code = "import sys; from fleetgw.cli import main; sys.exit(main())"
        words = [sys.executable, "-c", code, "simulate", *map(str, arguments)]
        self.process = reactor.spawnProcess(command, sys.executable, words, env=os.environ)
        return command

    def test_a_fleet(self):
        ids = self.path / "ids.jsonl"
        command = self.spawn(
            "--url", self.url, "--certs", self.path / "certs", "--vehicles", 3,
            "--rate", 500, "--count", 60, "--types", "V=3,alerts,mileage", "--ids", ids, "--json",
        )  # fmt: skip

        def ended(result):
            status, out, err = result
            self.assertEqual(status, 0, err)
            report = json.loads(out)
            self.assertEqual((report["records"]["issued"], report["records"]["acked"]), (60, 60))
            self.assertEqual((report["connects"], report["connection_endings"]), (3, {}))
            lines = [json.loads(line) for line in ids.read_text().splitlines()]
            txids = {record.txid.decode() for record in self.gateway.received}
            self.assertEqual(len(txids), 60)
            for event in ("issued", "acked"):
                self.assertEqual({line["txid"] for line in lines if line["event"] == event}, txids)
            self.assertEqual({record.topic for record in self.gateway.received}, {b"V", b"alerts", b"mileage"})
            self.assertEqual(len(list((self.path / "certs" / "vehicles").glob("*.crt"))), 3)

        return command.ended.addCallback(ended)

    def test_one_certificate_for_all_and_no_answers(self):
        self.gateway.replies = lambda _record: []
        vehicle = CertificateFolder(self.path / "certs").vehicle_files()[0]
        command = self.spawn(
            # an address that the server's certificate does not name
            "--url", f"wss://127.0.0.2:{self.listen('127.0.0.2')}", "--insecure", "--ca", self.path / "certs" / "ca.crt",
            "--cert", vehicle, "--key", vehicle.with_suffix(".key"), "--vehicles", 2,
            "--rate", 100, "--count", 4, "--drain", 0.2,
        )  # fmt: skip

        def ended(result):
            status, out, err = result
            self.assertEqual(status, 1, err)
            self.assertRegex(out, r"V\s*│\s*4 │\s*4 │\s*0 │\s*0 │\s*0 │\s*4 │")
            self.assertEqual(
                {record.sender_id for record in self.gateway.received}, {b"vehicle_device." + vehicle.stem.encode()}
            )

        return command.ended.addCallback(ended)

    def test_an_interrupt_ends_it_with_the_report(self):
        def interrupt_at_the_fifth(record):
            if len(self.gateway.received) == 5:
                self.process.signalProcess(signal.SIGINT)
            return [ack(record)]

        self.gateway.replies = interrupt_at_the_fifth
        command = self.spawn("--url", self.url, "--certs", self.path / "certs", "--vehicles", 1, "--rate", 50, "--json")

        def ended(result):
            status, out, err = result
            self.assertEqual(status, 0, err)
            records = json.loads(out)["records"]
            self.assertGreaterEqual(records["issued"], 5)
            self.assertEqual(records["issued"], records["acked"])

        return command.ended.addCallback(ended)


class SimulateArgumentsTests(PlainTestCase):
    def run_main(self, *arguments):
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            try:
                return main(["simulate", *arguments]), err.getvalue()
            except SystemExit as exit_:
                return exit_.code, err.getvalue()

    def test_arguments_that_cannot_work(self):
        for arguments, why in (
            ((), "--certs DIR"),
            (("--certs", "/nowhere/at/all"), "ca.crt is missing"),
            (("--certs", "x", "--cert", "y"), "one of them"),
            (("--cert", "/nowhere/v.crt", "--key", "/nowhere/v.key"), "/nowhere/v.crt"),
            (("--cert", __file__, "--key", __file__), "test_simulate.py has no CERTIFICATE in PEM; name a file with"),
            (("--types", "connectivity"), "connectivity records are the gateway's own"),
            (("--types", "gateway_status"), "gateway_status records are the gateway's own"),
            (("--types", "V,,alerts"), "empty type"),
            (("--types", "V=0"), "no number above 0"),
            (("--types", "V=many"), "'many' is no number above 0"),
            (("--rate", "0"), "no number above 0"),
            (("--duration", "1e9"), "below 1,000,000,000"),
            (("--vehicles", "0"), "no whole number from 1 on"),
            (("--vehicles", "many"), "'many' is no whole number"),
        ):
            with self.subTest(arguments):
                status, err = self.run_main(*arguments)
                self.assertEqual(status, 2)
                self.assertIn(why, err)

    def test_a_url_of_another_kind(self):
        with tempfile.TemporaryDirectory() as folder:
            CertificateFolder(Path(folder)).ensure_authority()
            for url in ("http://localhost:4443", "ws://localhost:4443", "localhost:4443"):
                with self.subTest(url):
                    status, err = self.run_main("--certs", folder, "--vehicles", "1", "--url", url)
                    self.assertEqual(status, 2)
                    self.assertIn("wss://host:port", err)

    def test_weights(self):
        parsed = build_parser().parse_args(["simulate", "--types", "V=9, alerts ,mileage=0.5"])
        self.assertEqual(parsed.types, {"V": 9.0, "alerts": 2.0, "mileage": 0.5})
        self.assertEqual(build_parser().parse_args(["simulate"]).types, {"V": 100.0, "alerts": 2.0, "errors": 1.0})
