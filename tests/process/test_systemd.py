"""Notifications to systemd, over real datagram sockets."""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path
from unittest import TestCase
from uuid import uuid4

from twisted.internet.task import Clock

from fleetgw.adapters.process.systemd import STATUS_CHARACTERS, STATUS_EVERY_S, ServiceManager, Supervision, take_supervision
from fleetgw.testing.sink_doubles import ReadableLog

PID = 4711


class SupervisionTests(TestCase):
    def test_the_variables_are_taken_out_of_the_environment(self) -> None:
        for variables, expected in (
            ({}, None),
            ({"WATCHDOG_USEC": "1000000"}, None),
            ({"NOTIFY_SOCKET": ""}, None),
            ({"NOTIFY_SOCKET": "/run/notify"}, Supervision("/run/notify")),
            ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "30000000"}, Supervision("@n", 30.0)),
            ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(PID)}, Supervision("@n", 0.5)),
            ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "500000", "WATCHDOG_PID": "1"}, Supervision("@n")),
            ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "0"}, Supervision("@n")),
            ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "soon"}, Supervision("@n")),
            ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "-1"}, Supervision("@n")),
        ):
            with self.subTest(variables):
                environ = {"PATH": "/bin", **variables}
                self.assertEqual(take_supervision(environ, PID), expected)
                self.assertEqual(environ, {"PATH": "/bin"})


class NotifyCase(TestCase):
    """A service manager that listens in the abstract namespace."""

    watchdog_s: float | None = None

    def setUp(self) -> None:
        self.address = f"@fleetgw-{uuid4().hex}"
        self.manager_socket = self.listen(f"\0{self.address[1:]}")
        self.clock = Clock()
        self.log = ReadableLog()
        self.state = "ok"
        self.service = ServiceManager(Supervision(self.address, self.watchdog_s), self.clock, self.log)

    def listen(self, address: str) -> socket.socket:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(listening.close)
        listening.bind(address)
        listening.setblocking(False)
        return listening

    def heard(self) -> list[list[str]]:
        """The lines of every notification since the last call."""
        notifications = []
        while True:
            try:
                notifications.append(self.manager_socket.recv(10_000).decode().split("\n"))
            except BlockingIOError:
                return notifications

    def describe(self) -> str:
        return self.state


class NotificationTests(NotifyCase):
    def test_a_life(self) -> None:
        self.service.reloading()
        self.service.reloaded()
        self.assertEqual(self.heard(), [], "it has not started")
        self.service.ready(self.describe)
        self.assertEqual(self.heard(), [["READY=1", "STATUS=ok"]])
        self.clock.advance(1.5)
        self.service.reloading()
        self.assertEqual(self.heard(), [["RELOADING=1", "MONOTONIC_USEC=1500000"]])
        self.service.reloaded()
        self.assertEqual(self.heard(), [["READY=1"]])
        self.state = "draining"
        self.service.stopping(12.5)
        self.assertEqual(self.heard(), [["STOPPING=1", "EXTEND_TIMEOUT_USEC=12500000", "STATUS=draining"]])
        self.service.reloaded()
        self.assertEqual(self.heard(), [], "the end of a reload that the stop has cancelled")

    def test_the_status_is_told_as_it_changes(self) -> None:
        self.service.ready(self.describe)
        self.clock.advance(STATUS_EVERY_S)
        self.assertEqual(len(self.heard()), 1)
        self.state = "degraded\nREADY=0\x1b" + "x" * 1000
        self.clock.advance(STATUS_EVERY_S)
        ((status,),) = self.heard()
        self.assertTrue(status.startswith(r"STATUS=degraded\nREADY=0\u001bxxx"), "one line")
        self.assertEqual(len(status), len("STATUS=") + STATUS_CHARACTERS)

    def test_a_path(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "notify")
            self.manager_socket = self.listen(path)
            ServiceManager(Supervision(path), self.clock, self.log).ready(self.describe)
        self.assertEqual(self.heard(), [["READY=1", "STATUS=ok"]])

    def test_a_manager_that_is_not_there_is_logged_once(self) -> None:
        self.manager_socket.close()
        for _ in range(3):
            self.service.reloaded()
            self.service.stopping(1)
        (fields,) = self.log.fields_of("service_manager_not_reached")
        self.assertEqual(fields["address"], self.address)
        self.assertTrue(fields["error"])

    def test_a_manager_that_does_not_read_blocks_nothing(self) -> None:
        self.service.ready(self.describe)
        for _ in range(10_000):
            self.service.reloaded()
        self.assertEqual(len(self.log.fields_of("service_manager_not_reached")), 1)
        self.heard()
        self.service.reloaded()
        self.assertEqual(self.heard(), [["READY=1"]])

    def test_without_a_manager_nothing_happens(self) -> None:
        service = ServiceManager(None, self.clock, self.log)
        service.ready(self.describe)
        service.reloading()
        service.reloaded()
        service.stopping(1)
        self.assertEqual((self.clock.getDelayedCalls(), self.log.entries), ([], []))


class WatchdogTests(NotifyCase):
    watchdog_s = 4.0

    def test_the_watchdog_hears_twice_in_its_time_until_the_end_of_the_process(self) -> None:
        self.clock.advance(10)
        self.assertEqual(self.heard(), [], "it has not started")
        self.service.ready(self.describe)
        self.heard()
        self.clock.pump([1.9, 0.1])
        self.assertEqual(self.heard(), [["WATCHDOG=1"]])
        self.service.stopping(60)
        self.heard()
        self.state = "draining"
        self.clock.advance(2)
        self.assertEqual(self.heard(), [["WATCHDOG=1", "STATUS=draining"]])
        self.clock.pump([2.0] * 3)
        self.assertEqual(self.heard(), [["WATCHDOG=1"]] * 3)

    def test_a_long_watchdog_does_not_delay_the_status(self) -> None:
        service = ServiceManager(Supervision(self.address, 3600.0), self.clock, self.log)
        service.ready(self.describe)
        self.heard()
        self.clock.advance(STATUS_EVERY_S)
        self.assertEqual(self.heard(), [["WATCHDOG=1"]])
