"""The operators' commands against a real gateway with vehicles."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest import TestCase, mock
from zipfile import ZipFile

from fleetgw.cli.gateway_client import GatewayClient
from tests.support.command_line import run
from tests.support.free_ports import free_port
from tests.support.gateway_process import BIN, GatewayProcess

TOKEN = "a-token-of-the-test"


class ToolsTests(TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.config = self.folder / "config.json"
        self.enterContext(mock.patch.dict(os.environ))
        os.environ.pop("FLEETGW_TOKEN", None)

    def gateway(self, **changes: object) -> GatewayProcess:
        """A gateway with a status service."""
        records = {record_type: ["memory"] for record_type in ("V", "alerts", "errors")}
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        gateway = GatewayProcess(self.folder, status_port=port, records=records, namespace="fleet", **changes)
        self.enterContext(gateway)
        gateway.wait_for("server_listening")
        return gateway

    def drive(self, port: int) -> None:
        """Let two vehicles send records until the test ends."""
        command = [BIN / "fleetgw", "simulate", "--url", f"wss://localhost:{port}", "--certs", "certs"]
        options = ["--vehicles", "2", "--rate", "40"]
        fleet = subprocess.Popen([*command, *options], cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(fleet.wait)
        self.addCleanup(fleet.kill)

    def fleetgw(self, command: str, *arguments: object, status: int = 0) -> str:
        """Standard output of a command about this gateway."""
        ended, out, error = run(command, "--config", self.config, *arguments)
        self.assertEqual((ended, error), (status, ""), out)
        return out

    def answer(self, command: str, *arguments: object) -> Any:
        """The JSON that a command prints, of any shape."""
        return json.loads(self.fleetgw(command, "--json", *arguments))

    def wait_for_vehicles(self, count: int) -> None:
        """Wait until the overview has so many vehicles, and records of signals."""
        with closing(GatewayClient(self.url).stream_events("/api/overview/stream")) as overviews:
            for overview in overviews:
                types = [each["type"] for each in overview["records"]]
                if overview["vehicles"]["connected"] == count and "V" in types:
                    return

    def test_each_command(self) -> None:
        gateway = self.gateway(operations={"token": TOKEN})
        self.drive(gateway.port)
        self.wait_for_vehicles(2)
        lines = self.fleetgw("tap", "--type", "V", "--field", "VehicleSpeed", "--limit", 3, "--json").splitlines()
        records = [json.loads(line) for line in lines]
        self.assertEqual([(each["type"], *each["data"]) for each in records], [("V", "VehicleSpeed")] * 3)
        vin = records[0]["vin"]
        self.assertRegex(self.fleetgw("tap", "--vin", vin, "--limit", 1), rf"^\S+  {vin}  \w+  \w")

        self.assertIn(f"{vin} is online: it connected ", self.fleetgw("vehicles", "--vin", vin))
        self.assertIn("it has not connected", self.fleetgw("vehicles", "--vin", "5YJ3E1EA7KF999999", status=1))
        self.assertEqual([each["online"] for each in self.answer("vehicles")["vehicles"]], [True, True])
        self.assertIn("2 vehicles, 2 online", self.fleetgw("vehicles"))

        self.assertIn(vin, [each["vin"] for each in self.answer("signals", "--top", 2)["vehicles"]])
        self.assertIn(vin, self.fleetgw("signals"))

        self.assertEqual(self.answer("top", "--once")["vehicles"]["connected"], 2)
        self.assertRegex(self.fleetgw("top"), r"(?s)● ok\n.*vehicles +2 .*\nmemory  ● ready .*\nV .*balanced, nothing lost")

        file = self.folder / "bundle.zip"
        with mock.patch.multiple("fleetgw.cli.bundle_parts", PROFILE_S=1, METRICS_APART_S=0):
            self.fleetgw("bundle", "--output", file)
        with ZipFile(file) as archive:
            files = {name.partition("/")[2]: archive.read(name).decode() for name in archive.namelist()}
        self.assertTrue(
            {"doctor.json", "ledger.json", "log.txt", "profile.txt", "traces.json"} <= files.keys(), files.keys()
        )
        self.assertIn("server_listening", files["log.txt"])
        self.assertIn('"vehicle-1"', files["log.txt"])
        for name, content in files.items():
            self.assertNotIn(vin, content, name)
            self.assertNotIn(TOKEN, content, name)

    def test_refusals(self) -> None:
        self.gateway()
        status, _, error = run("vehicles", "--config", self.config)
        self.assertEqual(status, 2)
        self.assertIn("set operations.token in the configuration", error)
        self.assertRegex(self.fleetgw("top", "--once"), r"vehicles +0 ")

    def test_wrong_tokens(self) -> None:
        self.gateway(operations={"token": TOKEN})
        for token, said in (
            ("", "a token is needed, and none is given"),
            ("another-wrong-token", "the token given is not the"),
        ):
            os.environ["FLEETGW_TOKEN"] = token
            status, out, error = run("tap", "--url", self.url)
            self.assertEqual((status, out, error.count("\n")), (2, "", 1))
            self.assertIn(said, error)
