"""The gateway as a process: start, end, and errors that prevent the start."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import TestCase

from tests.support.deadline import DEADLINE_S
from tests.support.free_ports import free_port
from tests.support.gateway_process import BIN, GatewayProcess, run_twistd, write_config

SINK_THAT_CANNOT_START = """
from twisted.internet.defer import fail, succeed
from zope.interface import implementer
from fleetgw.domain.errors import ConfigurationError, Problem
from fleetgw.domain.ports import IDispatcher, NotReady

@implementer(IDispatcher)
class Sink:
    def __init__(self, context):
        self.name = context.name
    def start(self):
        return fail(ConfigurationError([Problem("dispatchers.mine.settings.x", "is missing", "give one")]))
    def dispatch(self, batch):
        raise NotImplementedError
    def stop(self):
        raise NotImplementedError
    def readiness(self):
        return NotReady("never")


from fleetgw.adapters.sinks.sink_type import SinkType

TYPE = SinkType(name="mine", settings=dict[str, object], make=Sink)
"""


class FolderCase(TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)


class SignalTests(FolderCase):
    def test_hup_reloads_and_term_ends_with_0(self) -> None:
        with GatewayProcess(self.folder) as gateway:
            gateway.wait_for("server_listening")
            gateway.signal(signal.SIGHUP)
            gateway.wait_for("certificates_reloaded")
            (self.folder / "certs" / "server.crt").write_text("nothing of use")
            gateway.signal(signal.SIGHUP)
            gateway.wait_for("certificates_not_reloaded")
            self.assertEqual(gateway.stop(), 0, gateway.output())
            self.assertEqual(gateway.events("stopped_server")[0]["undelivered_records"], 0)
            self.assertNotIn("Traceback", gateway.output())

    def test_int_ends_with_0_and_further_signals_are_harmless(self) -> None:
        with GatewayProcess(self.folder) as gateway:
            gateway.wait_for("server_listening")
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
                gateway.signal(number)
            self.assertEqual(gateway.wait(), 0, gateway.output())
            self.assertEqual(len(gateway.events("stopped_server")), 1)
            self.assertNotIn("Traceback", gateway.output())


class InheritedSocketTests(FolderCase):
    def test_inherited_sockets_are_served_in_place_of_the_ports_and_outlive_the_gateway(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as door, socket.create_server(("127.0.0.1", 0)) as status:
            with socket.create_connection(status.getsockname()) as early:
                early.sendall(b"GET /status HTTP/1.0\r\n\r\n")
                early.settimeout(DEADLINE_S)
                sockets = {"port": door, "status_port": status}
                with GatewayProcess(self.folder, inherited=sockets, port=1, status_port=2) as gateway:
                    self.assertEqual(gateway.port, door.getsockname()[1], "its address counts")
                    self.assertIn(b" 200 OK", early.recv(65536), "it has waited in the kernel")
                    self.assertEqual(gateway.stop(), 0, gateway.output())
            socket.create_connection(door.getsockname()).close()  # waits for the next gateway


class RefusalTests(FolderCase):
    def test_a_configuration_that_cannot_work_ends_with_2_and_all_its_problems(self) -> None:
        config = write_config(self.folder, records={"V": ["kafak"]}, namespce="x", status_port=-1)
        result = run_twistd("-n", "--pidfile=", "fleetgw", "--config", str(config), folder=self.folder)
        self.assertEqual((result.returncode, result.stdout), (2, ""))
        for key in ("records.V[0]", "namespce", "status_port"):
            self.assertIn(key, result.stderr)
        self.assertNotIn("Traceback", result.stderr)

    def test_a_port_that_is_taken_ends_with_1_and_one_line(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with GatewayProcess(self.folder, port=port) as gateway:
                self.assertEqual(gateway.wait(), 1)
                (event,) = gateway.events("cannot_start")
                self.assertEqual(event["key"], "port")
                self.assertIn(f"127.0.0.1:{port}", str(event["error"]))
                self.assertNotIn("Traceback", gateway.output())

    def test_a_folder_of_another_gateway_ends_with_1_and_one_line(self) -> None:
        operations = {"folder": str(self.folder / "operations")}
        with GatewayProcess(self.folder, operations=operations) as first:
            first.wait_for("server_listening")
            traces = self.folder / "operations" / "traces"
            traces.mkdir()
            trace = {"id": 1, "vin": "A", "ip": "", "started_ms": 0, "until_ms": 4_000_000_000_000}
            (traces / "1.json").write_text(json.dumps(trace))
            (traces / "1.1.jsonl").write_text("a line that the first gateway is about to wr")
            other = self.folder / "other"
            other.mkdir()
            with GatewayProcess(other, operations=operations) as second:
                self.assertEqual(second.wait(), 1)
                (event,) = second.events("cannot_start")
                self.assertEqual(event["key"], "operations.folder")
                self.assertIn("is in use by another process", str(event["error"]))
            self.assertEqual((traces / "1.1.jsonl").read_text(), "a line that the first gateway is about to wr")

    def test_a_sink_that_cannot_start_ends_with_1_and_its_reason(self) -> None:
        (self.folder / "sink_that_cannot_start.py").write_text(SINK_THAT_CANNOT_START)
        sink = {"mine": {"class": "sink_that_cannot_start:TYPE"}}
        environ = {"PYTHONPATH": os.pathsep.join([str(self.folder), os.environ.get("PYTHONPATH", "")])}
        with GatewayProcess(self.folder, environ, records={"V": ["mine"]}, dispatchers=sink) as gateway:
            self.assertEqual(gateway.wait(), 1, gateway.output())
            (event,) = gateway.events("sink_start_failed")
            self.assertEqual((event["dispatcher"], event["key"]), ("mine", "dispatchers.mine.settings.x"))
            self.assertIn("is missing", str(event["error"]))
            self.assertEqual(gateway.events("server_listening"), [])
            self.assertNotIn("Traceback", gateway.output())

    def test_twistd_options_that_cannot_work_end_with_2_and_a_line(self) -> None:
        config = str(write_config(self.folder))
        for options, word in ((["-n", "--syslog"], "--syslog"), (["-n", "--logfile=missing/x.log"], "missing/x.log")):
            with self.subTest(options):
                result = run_twistd(*options, "--pidfile=", "fleetgw", "--config", config, folder=self.folder)
                self.assertEqual(result.returncode, 2)
                self.assertIn(word, result.stderr)
                self.assertNotIn("Traceback", result.stderr)


class CheckTests(FolderCase):
    def test_a_good_configuration_is_printed_with_its_secrets_masked(self) -> None:
        kafka = {"bootstrap.servers": "localhost:1", "sasl.password": "hush", "sasl.username": "me"}
        config = write_config(self.folder, records={"V": ["kafka"]}, kafka=kafka)
        result = run_twistd("-n", "fleetgw", "--config", str(config), "--check", folder=self.folder)
        self.assertEqual(result.returncode, 0, result.stderr)
        effective = json.loads(result.stdout)
        self.assertEqual(effective["kafka"]["sasl.username"], "me")
        self.assertEqual(effective["delivery"]["drain_timeout_s"], 10.0)
        self.assertNotIn("hush", result.stdout + result.stderr)
        self.assertFalse((self.folder / "twistd.pid").exists())

    def test_a_closed_pipe_is_no_error(self) -> None:
        config = write_config(self.folder)
        reading, writing = os.pipe()
        os.close(reading)
        command = [BIN / "twistd", "fleetgw", "--config", str(config), "--check"]
        with os.fdopen(writing, "wb") as gone:
            result = subprocess.run(
                command, stdout=gone, stderr=subprocess.PIPE, cwd=self.folder, timeout=DEADLINE_S, check=False
            )
        self.assertNotIn(b"BrokenPipeError", result.stderr)

    def test_problems_of_making_a_sink_are_found(self) -> None:
        sink = {"mine": {"class": "no.such.module:Sink"}}
        config = write_config(self.folder, records={"V": ["mine"]}, dispatchers=sink)
        result = run_twistd("fleetgw", "--config", str(config), "--check", folder=self.folder)
        self.assertEqual((result.returncode, result.stdout), (2, ""))
        self.assertIn("dispatchers.mine.class", result.stderr)
        self.assertIn("no.such.module", result.stderr)


class DaemonTests(FolderCase):
    def test_a_daemon_starts_tells_its_parent_and_stops(self) -> None:
        port = free_port()
        with socket.create_server(("127.0.0.1", port)):
            config = str(write_config(self.folder, port=port))
            daemon = ["--pidfile=gateway.pid", "--logfile=gateway.log", "fleetgw", "--config", config]
            result = run_twistd(*daemon, folder=self.folder)
            self.assertEqual(result.returncode, 1)
            self.assertIn("cannot listen", result.stderr)
        log = self.folder / "gateway.log"
        self.assertIn("cannot_start", log.read_text())

        result = run_twistd(*daemon, folder=self.folder)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        with self.ended_by_term(self.folder / "gateway.pid"):
            with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as stranger:
                stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
                self.assertEqual(stranger.recv(4), b"HTTP", "its refusal, which comes when it listens")
            self.assertIn('"server_listening"', log.read_text())
            check = run_twistd(*daemon, "--check", folder=self.folder)
            self.assertEqual(check.returncode, 0, "a check needs no place of its own")
        self.assertIn('"stopped_server"', log.read_text())
        self.assertFalse((self.folder / "gateway.pid").exists())
        self.assertNotIn("Traceback", log.read_text())

    @contextlib.contextmanager
    def ended_by_term(self, pid_file: Path) -> Iterator[None]:
        """Have a process that is no child of ours end, and wait until it has."""
        process = os.pidfd_open(int(pid_file.read_text()))
        try:
            yield
        finally:
            signal.pidfd_send_signal(process, signal.SIGTERM)
            ended, _, _ = select.select([process], [], [], DEADLINE_S)
            os.close(process)
        self.assertTrue(ended, "it does not end")
