"""A simulated fleet against a gateway process, over real sockets. The ids that each side writes down are the oracle."""

import json
import signal
import subprocess
import tempfile
import urllib.request
from pathlib import Path
from typing import Any
from unittest import TestCase

from fleetgw.adapters.metrics.ledger import ledger_of_page
from tests.support.books import assert_balanced
from tests.support.deadline import DEADLINE_S
from tests.support.free_ports import free_port
from tests.support.gateway_process import BIN, GatewayProcess

VEHICLES = 5


class Fleet:
    """``fleetgw simulate`` as a process."""

    def __init__(self, folder: Path, port: int, *arguments: str) -> None:
        self._ids = folder / "ids.jsonl"
        command = [BIN / "fleetgw", "simulate", "--url", f"wss://localhost:{port}", "--certs", folder / "certs"]
        command += ["--vehicles", str(VEHICLES), "--ids", self._ids, "--json", "--types", "V"]
        command += ["--drain", str(DEADLINE_S), *arguments]
        self.process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
        )

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def report(self) -> dict[str, Any]:
        """Wait for the end; the counts of its report."""
        out, error = self.process.communicate(timeout=DEADLINE_S)
        assert out, error.decode()
        counts: dict[str, Any] = json.loads(out)["records"]
        return counts

    def ids(self, event: str) -> set[str]:
        lines = self._ids.read_text().splitlines(keepends=True)
        entries = [json.loads(line) for line in lines if line.endswith("\n")]
        return {entry["txid"] for entry in entries if entry["event"] == event}


class FleetCase(TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def logged(self, gateway: GatewayProcess) -> dict[str, dict[str, Any]]:
        """The records that the logger sink has written, by txid."""
        entries: list[dict[str, Any]] = gateway.events("record_payload")
        return {entry["metadata"]["txid"]: entry for entry in entries if entry["metadata"]["txtype"] == "V"}


class DeliveryTests(FleetCase):
    def test_issued_is_acked_is_delivered(self) -> None:
        with GatewayProcess(self.folder, records={"V": ["logger"], "connectivity": ["logger"]}) as gateway:
            with Fleet(self.folder, gateway.port, "--rate", "3000", "--count", "1500") as fleet:
                counts = fleet.report()
                self.assertEqual(fleet.process.returncode, 0)
            self.assertEqual((counts["issued"], counts["acked"], counts["refused"]), (1500, 1500, 0))
            gateway.wait_for("socket_disconnected", VEHICLES)
            self.assertEqual(gateway.stop(), 0)
            delivered = self.logged(gateway)
            self.assertEqual(delivered.keys(), fleet.ids("issued"))
            self.assertTrue(all(entry["vin"] == entry["data"]["Vin"] for entry in delivered.values()))
            statuses = [entry["data"]["Status"] for entry in gateway.events("record_payload") if "Status" in entry["data"]]
            self.assertEqual(sorted(statuses), ["CONNECTED"] * VEHICLES + ["DISCONNECTED"] * VEHICLES)
            self.assertNotIn("Traceback", gateway.output())

    def test_term_under_load_loses_nothing_that_was_acked(self) -> None:
        with (
            GatewayProcess(self.folder) as gateway,
            Fleet(self.folder, gateway.port, "--rate", "1000", "--drain", "0.2") as fleet,
        ):
            gateway.wait_for("record_payload", 500)
            self.assertEqual(gateway.stop(), 0, gateway.output())
            fleet.process.send_signal(signal.SIGINT)
            counts = fleet.report()
            acked = fleet.ids("acked")
            self.assertEqual(len(acked), counts["acked"])
            self.assertGreaterEqual(len(acked), 500)
            self.assertLess(len(acked), counts["issued"], "the load was over before the gateway stopped")
            delivered = self.logged(gateway).keys()
            self.assertLessEqual(acked, delivered, "acknowledged and lost")
            self.assertLessEqual(delivered, fleet.ids("issued"))
            self.assertEqual(gateway.events("stopped_server")[0]["undelivered_records"], 0)
            self.assertEqual(gateway.events("dead_letter"), [])
            self.assertNotIn("Traceback", gateway.output())


class KafkaTests(FleetCase):
    def test_confirmed_by_kafka(self) -> None:
        metrics_port = free_port()
        config = {
            "records": {"V": ["kafka", "logger"]},
            "reliable_ack_sources": {"V": "kafka"},
            "kafka": {"bootstrap.servers": "localhost:1", "test.mock.num.brokers": "1"},
            "monitoring": {"prometheus_metrics_port": metrics_port},
        }
        with GatewayProcess(self.folder, **config) as gateway:
            with Fleet(self.folder, gateway.port, "--rate", "3000", "--count", "1000") as fleet:
                counts = fleet.report()
                self.assertEqual(fleet.process.returncode, 0)
            self.assertEqual((counts["issued"], counts["acked"]), (1000, 1000))
            metrics = self.metrics(metrics_port)
            for name in ('reliable_ack{dispatcher="kafka",record_type="V"}', 'record_total{record_type="V"}'):
                self.assertIn(f"\n{name} 1000\n", metrics)
            self.assertIn('\nkafka_reliable_ack_total{record_type="V"} 1000\n', metrics)
            books = assert_balanced(ledger_of_page(metrics))
            self.assertEqual((books.types["V"].acked, books.sinks["V", "kafka"].delivered), (1000, 1000))
            command = [BIN / "fleetgw", "ledger", "--config", self.folder / "config.json"]
            ledger = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S)
            self.assertEqual((ledger.returncode, ledger.stderr), (0, ""))
            self.assertEqual(ledger.stdout.splitlines()[-1], "balanced, nothing lost")
            self.assertEqual(gateway.stop(), 0, gateway.output())
            self.assertEqual(self.logged(gateway).keys(), fleet.ids("acked"))

    def metrics(self, port: int) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=DEADLINE_S) as answer:
            text: str = answer.read().decode()
        return text
