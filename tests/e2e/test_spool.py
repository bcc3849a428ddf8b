"""The policy ``spooled`` with a gateway process that is killed, and a sink that is down. Ids written down are the oracle."""

import os
import signal
import tempfile
import time
from pathlib import Path
from unittest import TestCase

from tests.e2e.test_fleet import Fleet
from tests.support.deadline import DEADLINE_S
from tests.support.free_ports import free_port
from tests.support.gateway_process import GatewayProcess

SINK = """
from pathlib import Path

from twisted.internet.defer import succeed

from fleetgw.adapters.sinks.memory.sink import MemorySink
from fleetgw.adapters.sinks.sink_type import SinkType
from fleetgw.domain.errors import NotConnected
from fleetgw.domain.ports import RECEIPT


class Sink(MemorySink):
    def dispatch(self, batch):
        if not Path("up").exists():
            return succeed([NotConnected("down")] * len(batch))
        with open("delivered", "a") as file:
            file.writelines(record.txid.decode() + "\\n" for record in batch)
        return succeed([RECEIPT] * len(batch))


TYPE = SinkType(name="mine", settings=dict[str, object], make=Sink)
"""


class SpoolCase(TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        (self.folder / "file_sink.py").write_text(SINK)
        (self.folder / "up").touch()
        self.port = free_port()

    def gateway(self, **changes: object) -> GatewayProcess:
        config: dict[str, object] = {
            "port": self.port,
            "records": {"V": ["mine"]},
            "ack_policies": {"V": "spooled"},
            "spool": {"path": str(self.folder / "spool")},
            "dispatchers": {"mine": {"class": "file_sink:TYPE"}},
            "delivery": {"queue_records": 200, "retry_initial_s": 0.05, "retry_max_s": 0.1, "drain_timeout_s": 1},
        }
        return GatewayProcess(self.folder, {"PYTHONPATH": str(self.folder)}, **config | changes)

    def wait_for_delivery(self, txids: set[str]) -> None:
        """Wait until the sink has got all of these records."""
        deadline = time.monotonic() + DEADLINE_S
        while not txids.issubset(self.delivered()):
            self.assertLess(time.monotonic(), deadline, f"{len(txids.difference(self.delivered()))} are lost")
            time.sleep(0.05)

    def delivered(self) -> list[str]:
        file = self.folder / "delivered"
        return file.read_text().splitlines() if file.exists() else []


class KillTests(SpoolCase):
    def test_all_that_was_acked_arrives_after_kills_while_the_sink_is_down(self) -> None:
        (self.folder / "up").unlink()
        with self.gateway() as gateway:
            fleet = Fleet(self.folder, gateway.port, "--rate", "1000", "--count", "3000", "--resend-after", "1")
            with fleet:
                gateway.wait_for("sink_behind")
                gateway.signal(signal.SIGKILL)
                gateway.wait()
                with self.gateway() as second:
                    second.wait_for("socket_connected")
                    os.kill(second.pid, signal.SIGKILL)
                    second.wait()
                    with self.gateway() as third:
                        counts = fleet.report()
                        self.assertEqual((counts["issued"], counts["acked"]), (3000, 3000))
                        self.assertEqual(self.delivered(), [])
                        (self.folder / "up").touch()
                        self.wait_for_delivery(fleet.ids("acked"))
                        self.assertEqual(third.stop(), 0, third.output())
                        self.assertEqual(third.events("dead_letter"), [])
                        self.assertNotIn("Traceback", third.output())

    def test_what_the_stop_leaves_is_delivered_by_the_next_process(self) -> None:
        (self.folder / "up").unlink()
        with self.gateway() as gateway, Fleet(self.folder, gateway.port, "--rate", "2000", "--count", "500") as fleet:
            self.assertEqual(fleet.report()["acked"], 500)
            self.assertEqual(gateway.stop(), 0, gateway.output())
            self.assertEqual(gateway.events("dead_letter"), [])
        (self.folder / "up").touch()
        with self.gateway() as gateway:
            self.wait_for_delivery(fleet.ids("acked"))
            self.assertEqual(gateway.stop(), 0, gateway.output())
        self.assertEqual(sorted(self.delivered()), sorted(fleet.ids("acked")))
        with self.gateway() as gateway:
            gateway.wait_for("server_listening")
            self.assertEqual(gateway.stop(), 0, gateway.output())
        self.assertEqual(len(self.delivered()), 500, "delivered again")


class FolderTests(SpoolCase):
    def test_a_folder_in_use_ends_the_start_and_names_the_key(self) -> None:
        with self.gateway() as gateway:
            gateway.wait_for("server_listening")
            with tempfile.TemporaryDirectory() as other:
                (Path(other) / "file_sink.py").write_text(SINK)
                spool = {"path": str(self.folder / "spool")}
                with GatewayProcess(
                    Path(other), records={"V": ["logger"]}, ack_policies={"V": "spooled"}, spool=spool
                ) as second:
                    failed = second.wait_for("spool_start_failed")
                    self.assertEqual(second.wait(), 1)
            self.assertEqual(failed["key"], "spool.path")
            self.assertIn("is in use by another process", str(failed["error"]))
            self.assertEqual(gateway.stop(), 0, gateway.output())
