"""The pages that lead through steps work from the first to the last, in order, in an empty folder."""

import re
import tempfile
import unittest
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from tests.docs.blocks import Block, blocks, commands
from tests.docs.not_run import reason_not_to_run
from tests.docs.sandbox import Ended, Place, Running
from tests.test_documentation import ROOT

WALKS = {"docs/quick-start.md", "docs/first-vehicle.md", "docs/moving-from-the-go-server.md"}

AWAITED = {
    "twistd ": "server_listening",
    "fleetgw simulate --certs certs --vehicles 1 --types V": "",
    "fleetgw trace ": "acked",
}
"""The beginnings of commands that run until Ctrl-C, each with a text to wait for; they run beside those after them."""

IN_PLACE = {
    "certbot ": "fleetgw certs certs --vehicles 1 --host gw.example.com"
    " && cp certs/server.crt letsencrypt/fullchain.pem && cp certs/server.key letsencrypt/privkey.pem",
    "fleetgw fetch-ca ": "cp certs/ca.crt tesla-ca.crt",
    "systemctl enable --now fleetgw": "twistd --nodaemon fleetgw --config /etc/fleetgw/config.json",
    "curl --cacert proxy.crt ": "fleetgw simulate --certs certs --vehicles 1 --types V --rate 5",
}
"""The beginnings of commands that cannot run here, each with one of the same effect: the last one brings a vehicle."""


class WalkCase(unittest.TestCase):
    def setUp(self) -> None:
        self.place = Place(Path(self.enterContext(tempfile.TemporaryDirectory())))
        self.ended: dict[str, str] = {}
        self.stack = self.enterContext(ExitStack())

    def walk(self, page: str) -> Ended:
        """Save the files and run the commands of a page; the end of its gateway, which Ctrl-C stops."""
        text = (ROOT / page).read_text("utf-8")
        running: dict[str, Running] = {}
        for block in blocks():
            if block.page == page and block.language == "json":
                self.save(text, block)
            elif block.page == page and block.language == "sh":
                for command in commands(block):
                    line = value_by_beginning(IN_PLACE, command.text)
                    if line is None and reason_not_to_run(command):
                        continue
                    line = line or command.text
                    awaited = value_by_beginning(AWAITED, line)
                    if awaited is not None:
                        running[line] = self.stack.enter_context(self.place.running(line, awaited))
                        continue
                    ended = self.place.run(line)
                    self.assertEqual(ended.status, 0, (command, ended))
                    self.ended[command.text.partition(" --")[0]] = ended.output
        (gateway,) = [each for line, each in running.items() if line.startswith("twistd ")]
        return gateway.interrupt()

    def save(self, page: str, block: Block) -> None:
        """Save a file under the name that the page has said last."""
        before = page.split("\n")[: block.line - 1]
        name = re.findall(r"[Ss]ave this (?:one )?as `([\w./]+)`", "\n".join(before))[-1]
        (self.place.folder / self.place.here(name)).write_text(self.place.here(block.text))

    def test_quick_start(self) -> None:
        end = self.walk("docs/quick-start.md")
        self.assertEqual(end.status, 0, end)
        self.assertEqual(self.ended["curl -s http://127.0.0.1:8080/status"], "ok")
        self.assertIn("balanced, nothing lost", self.ended["fleetgw ledger"])
        self.assertIn("Soc", self.ended["fleetgw query latest 5YJ3E1EA7PF000000"])
        for command in ("fleetgw query vehicles", "fleetgw vehicles", "fleetgw signals"):
            self.assertIn("5YJ3E1EA7PF000000", self.ended[command])

    def test_first_vehicle(self) -> None:
        end = self.walk("docs/first-vehicle.md")
        self.assertEqual(end.status, 0, end)
        (chain,) = [output for command, output in self.ended.items() if command.startswith("openssl s_client")]
        self.assertIn("Verify return code: 0 (ok)", chain)
        self.assertIn("● online", self.ended["fleetgw vehicles"])
        self.assertIn("5YJ3E1EA7PF000000", self.ended["fleetgw tap"])
        self.assertIn("Soc", self.ended["fleetgw query latest 5YJ3E1EA7PF000000"])

    def test_moving_from_the_go_server(self) -> None:
        end = self.walk("docs/moving-from-the-go-server.md")
        self.assertEqual(end.status, 0, end)
        for event in ("socket_connected", "record_payload", "socket_disconnected", "stopped_server"):
            self.assertIn(f'"msg":"{event}"', end.output)
        self.assertEqual(self.ended["curl -s http://127.0.0.1:8080/status"], "ok")
        metrics = next(output for command, output in self.ended.items() if "9273/metrics | grep" in command)
        found = set(re.findall(r"^(\w+)", metrics, re.MULTILINE))
        wanted = {"num_connections", "record_total", "record_size_bytes_total", "dispatch_total", "signal_count"}
        self.assertEqual(found, wanted)
        self.assertIn("balanced, nothing lost", self.ended["fleetgw ledger"])


def value_by_beginning(table: Mapping[str, str], command: str) -> str | None:
    """The value of the key that a command begins with."""
    return next((value for begin, value in table.items() if command.startswith(begin)), None)
