"""``fleetgw spool`` beside a gateway process, and after its end."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import TestCase

from fleetgw.adapters.spool.inspection import read_cursors
from tests.support.deadline import DEADLINE_S
from tests.support.gateway_process import BIN, GatewayProcess
from tests.support.sending_vehicle import SendingVehicle

if TYPE_CHECKING:
    from collections.abc import Iterator

TXIDS = [str(number) for number in range(20)]


class SpoolCommandsTests(TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.path = self.folder / "spool"

    @contextmanager
    def gateway(self) -> Iterator[GatewayProcess]:
        config: dict[str, object] = {
            "records": {"custom": ["mine"]},
            "ack_policies": {"custom": "spooled"},
            "dispatchers": {"mine": {"class": "tests.support.judging_sink:SINK"}},
            "spool": {"path": str(self.path)},
            "delivery": {"retry_initial_s": 0.05, "drain_timeout_s": 1},
        }
        root = {"PYTHONPATH": str(Path(__file__).parents[2])}
        with GatewayProcess(self.folder, root, **config) as gateway:
            yield gateway

    def wait_for_taken(self, count: int) -> list[str]:
        """Wait until the sink has taken so many records; their txids, sorted."""
        file, deadline_s = self.folder / "taken", time.monotonic() + DEADLINE_S
        while len(taken := file.read_text().split() if file.exists() else []) < count:
            self.assertLess(time.monotonic(), deadline_s)
            time.sleep(0.02)
        return sorted(taken)

    def command(self, *arguments: str) -> Any:  # JSON
        command = [str(BIN / "fleetgw"), "spool", *arguments, "--json", "--path", str(self.path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def spooled(self, gateway: GatewayProcess) -> None:
        """Send records, which are acknowledged once they are spooled."""
        with SendingVehicle(self.folder, gateway.port) as vehicle:
            vehicle.send(TXIDS)
            vehicle.wait_for_acks(TXIDS)

    def test_status_verify_and_replay_beside_the_gateway(self) -> None:
        with self.gateway() as gateway:
            self.spooled(gateway)
            self.wait_for_taken(len(TXIDS))
            status = self.command("status")
            self.assertEqual((status["gateway_runs"], status["failure"], status["records"]), (True, None, len(TXIDS)))
            self.assertEqual([each["sink"] for each in status["sinks"]], ["mine"])
            self.assertFalse(self.command("verify")["damaged"])
            (replayed,) = self.command("replay", "--since", "1h", "--sink", "mine")
            self.assertEqual((replayed["records"], replayed["settled"]), (len(TXIDS), len(TXIDS)))
            self.assertEqual(self.wait_for_taken(2 * len(TXIDS)), sorted(TXIDS + TXIDS))

    def test_a_replay_without_a_gateway_is_delivered_at_its_next_start(self) -> None:
        with self.gateway() as gateway:
            self.spooled(gateway)
            self.wait_for_taken(len(TXIDS))
            self.wait_for_cursor(len(TXIDS) + 1)
            gateway.signal(signal.SIGKILL)
            gateway.wait()
        self.assertFalse(self.command("status")["gateway_runs"])
        self.assertEqual(self.command("replay", "--since", "1h"), [{"sink": "mine", "cursor": 1, "records": len(TXIDS)}])
        with self.gateway() as gateway:
            gateway.wait_for("server_listening")
            self.assertEqual(self.wait_for_taken(2 * len(TXIDS)), sorted(TXIDS + TXIDS))

    def wait_for_cursor(self, position: int) -> None:
        """Wait until the cursor is on disk, which takes a second at most."""
        deadline_s = time.monotonic() + DEADLINE_S
        while read_cursors(str(self.path)).positions["mine"] < position:
            self.assertLess(time.monotonic(), deadline_s)
            time.sleep(0.05)
