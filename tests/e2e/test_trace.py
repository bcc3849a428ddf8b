"""``fleetgw trace`` and a gateway, over real sockets: why a vehicle does not connect, and a trace over a restart."""

from __future__ import annotations

import socket
import ssl
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from unittest import TestCase

from fleetgw.cli.gateway_client import GatewayClient
from fleetgw.simulator.certificates import make_authority, make_vehicle
from tests.support.command_line import run
from tests.support.deadline import DEADLINE_S
from tests.support.free_ports import free_port
from tests.support.gateway_process import BIN, GatewayProcess

TOKEN = "a token of the test".replace(" ", "-")
VIN = "5YJ3E1EA7KF000009"


class TraceTests(TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.port, self.status_port = free_port(), free_port()

    def gateway(self, speedups: str) -> GatewayProcess:
        operations = {"token": TOKEN, "folder": str(self.folder / "operations")}
        environ = {"FLEETGW_SPEEDUPS": speedups}
        return GatewayProcess(self.folder, environ, port=self.port, status_port=self.status_port, operations=operations)

    def trace(self, *arguments: object) -> str:
        """Run the command; its output."""
        status, out, error = run("trace", *arguments, "--config", self.folder / "config.json")
        self.assertEqual(status, 0, error)
        return out

    def connect(self) -> None:
        """A vehicle with a certificate of an authority that the gateway does not know; it is refused."""
        now = datetime.now(UTC)
        vehicle = make_vehicle(make_authority(now, 1, "Unknown CA"), VIN, now, 1)
        file = self.folder / "vehicle.pem"
        file.write_bytes(vehicle.certificate_pem() + vehicle.key_pem())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(file)
        with (
            self.assertRaises(OSError),
            socket.create_connection(("127.0.0.1", self.port), DEADLINE_S) as plain,
            context.wrap_socket(plain) as connection,
        ):
            connection.recv(1)
            raise ConnectionError("the gateway has closed it in order")

    def drive(self) -> None:
        """A vehicle that is accepted, and sends records for a second."""
        url = ["--url", f"wss://localhost:{self.port}", "--certs", str(self.folder / "certs")]
        command = [str(BIN / "fleetgw"), "simulate", *url, "--vehicles", "1", "--rate", "5", "--duration", "1"]
        subprocess.run(command, capture_output=True, timeout=DEADLINE_S, check=True)

    def assertFollowed(self, out: str) -> None:
        """Assert that a trace has an accepted vehicle with its records."""
        for stage in ("accepted", "certificate", "upgrade", "received", "placed", "acked", "delivered", "disconnected"):
            self.assertRegex(out, rf" {stage} ")

    def test_vehicles_before_and_after_a_restart(self) -> None:
        """With the hot path in C, then with that in Python."""
        with self.gateway("1") as gateway:
            gateway.wait_for("server_listening")
            client = GatewayClient(f"http://127.0.0.1:{self.status_port}", TOKEN)
            client.post_json("/api/traces", {"ip": "127.0.0.1", "for_s": 3600})
            self.connect()
            out = self.trace("show", 1)
            self.assertIn('no authority "Unknown CA", which has issued the certificate of "' + VIN, out)
            self.assertIn("fleetgw fetch-ca", out)
            self.drive()
            self.assertFollowed(self.trace("show", 1))
            self.assertEqual(gateway.stop(), 0, gateway.output())
        with self.gateway("0") as gateway:
            gateway.wait_for("server_listening")
            self.drive()
            before, _, after = self.trace("show", 1).partition("gateway_started")
            self.assertIn("Unknown CA", before)
            self.assertFollowed(after)
            self.assertEqual(gateway.stop(), 0, gateway.output())
        files = [*(self.folder / "operations" / "traces").iterdir()]
        self.assertEqual(sorted(file.suffix for file in files), [".json", ".jsonl"])
