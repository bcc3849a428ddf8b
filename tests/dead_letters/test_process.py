"""Dead letters of a gateway process, looked at and changed by commands while it runs."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import TestCase

from tests.support.deadline import DEADLINE_S
from tests.support.gateway_process import BIN, GatewayProcess
from tests.support.sending_vehicle import SendingVehicle

if TYPE_CHECKING:
    from collections.abc import Iterator

POLICIES = {"custom": "mine"}


class LettersCase(TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.letters = self.folder / "letters"

    @contextmanager
    def gateway(self, policies: dict[str, str] = POLICIES, **changes: object) -> Iterator[GatewayProcess]:
        config: dict[str, object] = {
            "records": {"custom": ["mine"]},
            "ack_policies": policies,
            "dispatchers": {"mine": {"class": "tests.support.judging_sink:SINK"}},
            "dead_letters": {"path": str(self.letters)},
            "delivery": {"retry_initial_s": 0.05, "drain_timeout_s": 1},
        }
        root = {"PYTHONPATH": str(Path(__file__).parents[2])}
        with GatewayProcess(self.folder, root, **config | changes) as gateway:
            yield gateway

    def reject(self, reason: str = "r") -> None:
        (self.folder / "reject").write_text(reason)

    def accept(self) -> None:
        (self.folder / "reject").unlink()

    def taken(self) -> list[str]:
        file = self.folder / "taken"
        return file.read_text().split() if file.exists() else []

    def command(self, *arguments: str, status: int = 0) -> str:
        """Run ``fleetgw dead-letters`` with the gateway's configuration; its output."""
        command = [str(BIN / "fleetgw"), "dead-letters", *arguments, "--path", str(self.letters)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
        self.assertEqual(done.returncode, status, done.stderr + done.stdout)
        return done.stdout if not status else done.stderr

    def listed(self, *arguments: str) -> Any:  # JSON
        return json.loads(self.command("list", "--json", *arguments))


class RunningGatewayTests(LettersCase):
    def test_a_poison_record_is_acknowledged_listed_and_redriven(self) -> None:
        self.reject()
        with self.gateway() as gateway, SendingVehicle(self.folder, gateway.port) as vehicle:
            vehicle.send(["1", "2"])
            vehicle.wait_for_acks(["1", "2"])
            self.assertEqual([line["stored"] for line in gateway.events("dead_letter")], [True, True])
            (summary,) = self.listed()
            self.assertEqual((summary["sink"], summary["letters"]), ("mine", 2))
            self.assertEqual(summary["reasons"], [{"reason": "too large: r", "letters": 2}])
            self.assertEqual([each["id"] for each in self.listed("--sink", "mine")], ["mine/1", "mine/2"])
            shown = json.loads(self.command("show", "mine/2", "--json"))
            self.assertEqual((shown["metadata"]["txid"], shown["payload"]), ("2", "payload"))
            self.assertEqual(self.command("show", "mine/2", "--payload"), "payload")

            self.reject("again")
            self.command("redrive", "mine/1", status=1)
            self.assertEqual(
                [each["reason"] for each in self.listed("--sink", "mine")], ["too large: r", "too large: again"]
            )
            self.accept()
            (redriven,) = json.loads(self.command("redrive", "--sink", "mine", "--json"))
            self.assertEqual((redriven["offered"], redriven["delivered"]), (2, 2))
            self.assertEqual(sorted(self.taken()), ["1", "2"])
            self.assertEqual(self.listed()[0]["letters"], 0)

    def test_a_successor_passes_a_poison_record(self) -> None:
        self.reject()
        with self.gateway() as gateway, SendingVehicle(self.folder, gateway.port) as vehicle:
            vehicle.send(["1"])
            vehicle.wait_for_acks(["1"])
            self.accept()
            vehicle.send(["2"])
            vehicle.wait_for_acks(["2"])
            self.assertEqual(self.taken(), ["2"])

    def test_letters_are_there_after_kill_9_and_purged_beside_the_gateway(self) -> None:
        self.reject()
        acked: list[str] = []
        for life in range(3):
            with self.gateway() as gateway, SendingVehicle(self.folder, gateway.port) as vehicle:
                txids = [f"{life}.{number}" for number in range(50)]
                vehicle.send(txids)
                vehicle.wait_for_acks(txids)
                acked += txids
                vehicle.send([f"unread {life}"])
                gateway.signal(signal.SIGKILL)
                gateway.wait()
        with self.gateway() as gateway:
            gateway.wait_for("server_listening")
            letters = self.listed("--sink", "mine", "--limit", "1000")
            self.assertLessEqual(set(acked), {each["txid"] for each in letters})
            self.command("purge", letters[0]["id"], letters[1]["id"], "--yes")
            self.assertEqual(len(self.listed("--sink", "mine", "--limit", "1000")), len(letters) - 2)
            self.command("purge", "--sink", "mine", "--yes")
            self.assertEqual(self.listed()[0]["letters"], 0)
            self.assertEqual(gateway.stop(), 0)
        self.assertEqual(self.listed()[0]["letters"], 0)

    def test_acknowledged_records_that_are_left_at_the_stop_become_letters(self) -> None:
        (self.folder / "away").touch()
        with self.gateway({}) as gateway, SendingVehicle(self.folder, gateway.port) as vehicle:
            txids = [str(number) for number in range(20)]
            vehicle.send(txids)
            vehicle.wait_for_acks(txids)
            self.assertEqual(gateway.stop(), 0)
        letters = self.listed("--sink", "mine")
        self.assertEqual({each["txid"] for each in letters}, set(txids))
        self.assertEqual({each["reason"] for each in letters}, {"the gateway stopped before the sink confirmed it"})
        (self.folder / "away").unlink()
        with self.gateway({}) as gateway:
            gateway.wait_for("server_listening")
            self.command("redrive", "--all")
        self.assertEqual(sorted(self.taken()), sorted(txids))

    def test_two_gateways_in_one_folder(self) -> None:
        with self.gateway() as gateway:
            gateway.wait_for("server_listening")
            other = Path(tempfile.mkdtemp(dir=self.folder))
            second = GatewayProcess(other, dead_letters={"path": str(self.letters)})
            with second:
                line = second.wait_for("cannot_start")
                self.assertEqual(line["key"], "dead_letters.path")
                self.assertIn("is in use by another process", str(line["error"]))
                self.assertNotEqual(second.wait(), 0)
            self.assertEqual(self.command("purge", "--all", "--yes"), self.command("purge", "--all", "--yes"))

    def test_a_long_folder(self) -> None:
        self.letters = self.folder / ("x" * 100) / ("y" * 100)
        self.reject()
        with self.gateway() as gateway, SendingVehicle(self.folder, gateway.port) as vehicle:
            vehicle.send(["1"])
            vehicle.wait_for_acks(["1"])
            self.accept()
            self.command("redrive", "--all")
            self.assertEqual(self.taken(), ["1"])
            self.assertEqual((self.letters / "control").stat().st_mode & 0o777, 0o600)
            gateway.stop()
        self.assertFalse((self.letters / "control").exists())


class WithoutGatewayTests(LettersCase):
    def setUp(self) -> None:
        super().setUp()
        self.reject()
        with self.gateway() as gateway, SendingVehicle(self.folder, gateway.port) as vehicle:
            vehicle.send(["1", "2", "3"])
            vehicle.wait_for_acks(["1", "2", "3"])
            gateway.signal(signal.SIGKILL)
            gateway.wait()

    def test_purge(self) -> None:
        self.command("purge", "mine/2", "--yes")
        self.assertEqual([each["id"] for each in self.listed("--sink", "mine")], ["mine/1", "mine/3"])
        self.command("purge", "--all", "--before", "1d", "--yes")
        self.assertEqual(len(self.listed("--sink", "mine")), 2)

    def test_redrive_says_what_to_do(self) -> None:
        self.assertIn("no gateway runs with this folder", self.command("redrive", "--all", status=1))
        self.assertEqual(len(self.listed("--sink", "mine")), 3)
