"""The pages that lead through steps work from the first to the last, in order, in an empty folder."""

import re
import tempfile
import unittest
from contextlib import ExitStack
from pathlib import Path

from tests.docs.blocks import Block, blocks, commands
from tests.docs.not_run import reason_not_to_run
from tests.docs.sandbox import Ended, Place
from tests.test_documentation import ROOT

WALKS = {"docs/quick-start.md", "docs/moving-from-the-go-server.md"}


class WalkCase(unittest.TestCase):
    def setUp(self) -> None:
        self.place = Place(Path(self.enterContext(tempfile.TemporaryDirectory())))
        self.ended: dict[str, str] = {}
        self.stack = self.enterContext(ExitStack())

    def walk(self, page: str) -> Ended:
        """Save the files and run the commands of a page; the end of its gateway, which Ctrl-C stops."""
        text = (ROOT / page).read_text("utf-8")
        gateway = None
        for block in blocks():
            if block.page == page and block.language == "json":
                self.save(text, block)
            elif block.page == page and block.language == "sh":
                for command in commands(block):
                    if reason_not_to_run(command):
                        continue
                    if command.text.startswith("twistd"):
                        gateway = self.stack.enter_context(self.place.running(command.text, "server_listening"))
                        continue
                    ended = self.place.run(command.text)
                    self.assertEqual(ended.status, 0, (command, ended))
                    self.ended[command.text.partition(" --")[0]] = ended.output
        assert gateway is not None
        return gateway.interrupt()

    def save(self, page: str, block: Block) -> None:
        """Save a file under the name that the page has said last."""
        before = page.split("\n")[: block.line - 1]
        name = re.findall(r"[Ss]ave this (?:one )?as `([\w.]+)`", "\n".join(before))[-1]
        (self.place.folder / name).write_text(self.place.here(block.text))

    def test_quick_start(self) -> None:
        end = self.walk("docs/quick-start.md")
        self.assertEqual(end.status, 0, end)
        self.assertEqual(self.ended["curl -s http://127.0.0.1:8080/status"], "ok")
        self.assertIn("balanced, nothing lost", self.ended["fleetgw ledger"])
        self.assertIn("Soc", self.ended["fleetgw query latest 5YJ3E1EA7PF000000"])
        self.assertIn("5YJ3E1EA7PF000000", self.ended["fleetgw query vehicles"])

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
