"""The gateway as a service of systemd: a process that tells a real socket of its life."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
from pathlib import Path
from unittest import TestCase
from uuid import uuid4

from tests.support.deadline import DEADLINE_S
from tests.support.gateway_process import GatewayProcess

CHILD_OF_A_SINK = """
import subprocess
from fleetgw.adapters.sinks.memory.sink import MemorySink
from fleetgw.adapters.sinks.sink_type import SinkType

class Sink(MemorySink):
    def start(self):
        with open("child.environ", "wb") as file:
            subprocess.run(["env"], stdout=file, check=True)
        return super().start()

TYPE = SinkType(name="mine", settings=dict[str, object], make=Sink)
"""


class ServiceTests(TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.manager.close)
        self.manager.settimeout(DEADLINE_S)

    def gateway(self, address: str, **changes: object) -> GatewayProcess:
        (self.folder / "own_sink.py").write_text(CHILD_OF_A_SINK)
        return GatewayProcess(
            self.folder,
            {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "2000000", "PYTHONPATH": str(self.folder)},
            records={"V": ["mine"]},
            dispatchers={"mine": {"class": "own_sink:TYPE"}},
            **changes,
        )

    def hear(self, assignment: str) -> list[str]:
        """The lines of the next notification with this one."""
        while assignment not in (lines := self.manager.recv(10_000).decode().split("\n")):
            pass
        return lines

    def test_a_life(self) -> None:
        name = f"fleetgw-{uuid4().hex}"
        self.manager.bind(f"\0{name}")
        with self.gateway(f"@{name}", drain={"wait_s": 1}) as gateway:
            self.assertIn("STATUS=ok, connections: 0", self.hear("READY=1"))
            self.assertTrue(gateway.events("server_listening"), "it serves by then")
            for _ in range(3):
                self.hear("WATCHDOG=1")
            gateway.signal(signal.SIGHUP)
            self.assertTrue(self.hear("RELOADING=1")[1].startswith("MONOTONIC_USEC="))
            self.hear("READY=1")
            gateway.signal(signal.SIGTERM)
            lines = self.hear("STOPPING=1")
            self.assertIn("STATUS=draining, connections: 0", lines)
            self.assertIn("EXTEND_TIMEOUT_USEC=21000000", lines)
            self.hear("WATCHDOG=1")
            self.assertEqual(gateway.wait(), 0)
        environ = (self.folder / "child.environ").read_text()
        self.assertIn("PYTHONPATH", environ)
        self.assertNotIn("NOTIFY_SOCKET", environ)
        self.assertNotIn("WATCHDOG", environ)

    def test_a_gateway_that_the_watchdog_aborts_shows_where_it_hangs(self) -> None:
        path = str(self.folder / "notify")
        self.manager.bind(path)
        with self.gateway(path) as gateway:
            self.hear("READY=1")
            os.kill(gateway.pid, signal.SIGABRT)
            self.assertEqual(gateway.wait(), -signal.SIGABRT)
            self.assertIn("Fatal Python error: Aborted", gateway.output())
            self.assertIn(" in startReactor\n", gateway.output())
