"""The unit of ``examples/`` under a real systemd: with its user, its sandbox, port 443 and the watchdog."""

from __future__ import annotations

import json
from collections import defaultdict
from contextlib import ExitStack
from unittest import TestCase

from fleetgw.simulator.certificate_folder import CertificateFolder
from tests.support.systemd.own_systemd import SERVICE, OwnSystemd

WAIT_S = 3
"""Longer than ``TimeoutStopSec`` in the test: systemd kills a service that does not ask for more time."""


class UnitTests(TestCase):
    def setUp(self) -> None:
        stack = ExitStack()
        self.addCleanup(stack.close)
        self.systemd = OwnSystemd()
        CertificateFolder(self.systemd.configuration, 30).ensure_all()
        self.configure()
        stack.enter_context(self.systemd)

    def configure(self, **changes: object) -> None:
        """Write the configuration: everything that the service stores is in its folder."""
        etc, state = "/etc/fleetgw", "/var/lib/fleetgw"
        config = {
            "host": "127.0.0.1",
            "port": 443,
            "status_port": 8080,
            "tls": {"ca_file": f"{etc}/ca.crt", "server_cert": f"{etc}/server.crt", "server_key": f"{etc}/server.key"},
            "records": {"V": ["logger"]},
            "ack_policies": {"V": "spooled"},
            "spool": {"path": f"{state}/spool"},
            "operations": {"folder": f"{state}/operations"},
            "drain": {"wait_s": WAIT_S},
        }
        (self.systemd.configuration / "config.json").write_text(json.dumps(config | changes))

    def systemctl(self, *arguments: str) -> None:
        result = self.systemd.systemctl(*arguments, SERVICE)
        self.assertEqual(result.returncode, 0, f"{result.stderr}\n{self.systemd.console()}\n{self.systemd.log()}")

    def wait_until_it_runs(self) -> None:
        self.systemd.wait_for(lambda: self.systemd.shown("SubState") == ["running"])

    def test_start_reload_and_a_stop_that_takes_longer_than_the_time_out(self) -> None:
        self.systemd.set(TimeoutStopSec="1")
        self.systemctl("start")
        self.assertIn("port=443", self.systemd.log())
        self.assertEqual(self.systemd.shown("StatusText"), ["ok, connections: 0"])
        self.systemctl("reload")
        self.systemd.wait_for(lambda: "configuration_reloaded" in self.systemd.log())
        self.wait_until_it_runs()
        self.systemctl("stop")
        self.assertEqual(self.systemd.shown("ActiveState"), ["inactive"], "not failed")
        self.assertIn("stopped_server", self.systemd.log())

    def test_a_reactor_that_hangs_is_aborted_and_started_again(self) -> None:
        self.systemd.set(WatchdogSec="4")
        self.systemctl("start")
        heard = defaultdict[str, set[str]](set)

        def is_fed() -> bool:
            pid, when = self.systemd.shown("MainPID", "WatchdogTimestampMonotonic")
            heard[pid].add(when)
            return len(heard[pid]) > 2

        self.systemd.wait_for(is_fed)
        self.systemd.systemctl("kill", "--kill-whom=main", "--signal=STOP", SERVICE)
        self.systemd.wait_for(lambda: self.systemd.log().count("server_listening") > 1)
        self.wait_until_it_runs()
        # no more than that: after SIGSTOP any thread may take the signal, and shows the stacks of others while they run
        self.assertIn("Fatal Python error: Aborted", self.systemd.log())

    def test_a_configuration_that_cannot_work_is_not_started_again(self) -> None:
        self.configure(port="https")
        self.assertNotEqual(self.systemd.systemctl("start", SERVICE).returncode, 0)
        self.assertIn('port: error: is "https"', self.systemd.log())
        self.assertEqual(self.systemd.shown("ActiveState", "ExecMainStatus", "NRestarts"), ["failed", "2", "0"])
