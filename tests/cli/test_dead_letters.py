"""Output of ``fleetgw dead-letters``, for the golden letters."""

from __future__ import annotations

import io
import json
import shutil
import sys
import tempfile
from pathlib import Path
from unittest import TestCase, mock

from tests.cli.test_query import in_zone
from tests.support.command_line import run
from tests.support.dead_letters_golden import GOLDEN
from tests.support.gateway_process import write_config

LISTED = """
 sink       letters   bytes   oldest                    newest                    damaged   reasons
 ───────────────────────────────────────────────────────────────────────────────────────────────────────────
 kafka            2    8192   2023-11-14 22:13:20.000   2023-11-14 22:13:20.000         0   2 x too large ü�
 my/s�ink         2    8192   2023-11-14 22:13:20.000   2023-11-14 22:13:20.000         0   2 x too large ü�
"""

LETTERS = """
 id        dead since                vin                 record type   txid   payload bytes   reason
 ─────────────────────────────────────────────────────────────────────────────────────────────────────────
 kafka/1   2023-11-14 22:13:20.000   5YJ3E1EA7KF000001   V             tx-1              34   too large ü�
 kafka/3   2023-11-14 22:13:20.000   ü-1                 cust�om                          8   too large ü�
"""

SHOWN = """
 field                            value
 ────────────────────────────────────────────────────────
 id                               kafka/3
 reason                           too large ü�
 dead_since                       2023-11-14 22:13:20.000
 received_at                      1970-01-01 00:00:00.000
 metadata.device_client_version
 metadata.receivedat              0
 metadata.timestamp               0
 metadata.txid
 metadata.txtype                  cust�om
 metadata.version                 0
 metadata.vin                     ü-1
 payload_bytes                    8

{
  "base64": "AG9wYXF1Zf8="
}
"""


def without_margins(text: str) -> str:
    """The lines of a table without the spaces at their ends."""
    return "\n".join(line.rstrip() for line in text.strip("\n ").splitlines())


class DeadLettersCase(TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.path = self.folder / "letters"
        shutil.copytree(GOLDEN / "v1", self.path)

    def output(self, *arguments: object) -> str:
        with in_zone("UTC"):
            status, out, error = run("dead-letters", *arguments, "--path", self.path)
        self.assertEqual((status, error), (0, ""))
        return out

    def refusal(self, *arguments: object, status: int = 2) -> str:
        got, out, error = run("dead-letters", *arguments)
        self.assertEqual((got, out), (status, ""), error)
        return error

    def ids(self) -> list[str]:
        return [each["id"] for each in json.loads(self.output("list", "--sink", "kafka", "--json"))]


class ReadingTests(DeadLettersCase):
    def test_tables(self) -> None:
        for command, expected in (("list", LISTED), ("list --sink kafka", LETTERS), ("show kafka/3", SHOWN)):
            with self.subTest(command):
                self.assertEqual(without_margins(self.output(*command.split())), without_margins(expected))

    def test_sinks_as_json(self) -> None:
        kafka, _ = json.loads(self.output("list", "--json"))
        moment = "2023-11-14T22:13:20.000Z"
        reasons = [{"reason": "too large ü\udcff", "letters": 2}]
        expected = {"letters": 2, "size_bytes": 8192, "oldest": moment, "newest": moment, "damaged": 0, "reasons": reasons}
        self.assertEqual(kafka, {"sink": "kafka", **expected})

    def test_a_letter_as_json(self) -> None:
        shown = json.loads(self.output("show", "kafka/1", "--json"))
        self.assertEqual(shown["metadata"]["txid"], "tx-1")
        self.assertEqual(shown["payload"]["data"], [{"key": "Odometer", "value": {"doubleValue": 12.5}}])
        self.assertEqual(shown["dead_since"], "2023-11-14T22:13:20.000Z")

    def test_the_payload_as_it_is(self) -> None:
        with mock.patch.object(sys, "stdout", io.TextIOWrapper(io.BytesIO())) as stdout:
            from fleetgw.cli import main

            self.assertEqual(main(["dead-letters", "show", "kafka/3", "--payload", "--path", str(self.path)]), 0)
            self.assertEqual(stdout.buffer.getvalue(), b"\x00opaque\xff")  # type: ignore[attr-defined]  # of a BytesIO

    def test_limits(self) -> None:
        status, out, error = run("dead-letters", "list", "--sink", "kafka", "--limit", "1", "--json", "--path", self.path)
        self.assertEqual((status, [each["id"] for each in json.loads(out)]), (0, ["kafka/3"]))
        self.assertIn("the latest 1 of 2", error)
        self.assertEqual(json.loads(self.output("list", "--sink", "kafka", "--since", "1h", "--json")), [])

    def test_a_damaged_file_costs_its_letters_and_is_told(self) -> None:
        (file,) = (self.path / "kafka").glob("0*.spool")
        content = bytearray(file.read_bytes())
        content[content.index(b"opaque")] ^= 1
        file.write_bytes(content)
        kafka, _ = json.loads(self.output("list", "--json"))
        self.assertEqual((kafka["letters"], kafka["damaged"]), (1, 1))
        self.assertEqual(self.ids(), ["kafka/1"])

    def test_nothing_changes_in_the_folder(self) -> None:
        before = {each: each.stat().st_mtime_ns for each in self.path.rglob("*")}
        self.output("list")
        self.output("show", "kafka/1")
        self.assertEqual({each: each.stat().st_mtime_ns for each in self.path.rglob("*")}, before)

    def test_the_folder_of_a_configuration(self) -> None:
        config = write_config(self.folder, dead_letters={"path": str(self.path)})
        status, out, _ = run("dead-letters", "list", "--json", "--config", config)
        self.assertEqual((status, len(json.loads(out))), (0, 2))
        config = write_config(self.folder)
        self.assertIn('has no section "dead_letters"; add it', self.refusal("list", "--config", config))


class RefusedTests(DeadLettersCase):
    def test_what_is_not_there(self) -> None:
        here = ("--path", self.path)
        for arguments, expected in (
            (("list", "--sink", "kafak", *here), 'there are no dead letters of a sink "kafak"; did you mean "kafka"?'),
            (("show", "kafka", *here), '"kafka" is no ID of a letter; it must be a sink and a number, such as kafka/17'),
            (("show", "kafka/x", *here), '"kafka/x" is no ID'),
            (("list", "--path", self.path / "nowhere"), "does not exist"),
            (("list", "--path", self.path / "lock"), "is not a folder"),
        ):
            with self.subTest(arguments):
                self.assertIn(expected, self.refusal(*arguments))
        self.assertIn("there is no letter kafka/2", self.refusal("show", "kafka/2", *here, status=1))

    def test_a_newer_version(self) -> None:
        (file,) = (self.path / "kafka").glob("0*.spool")
        content = file.read_bytes()
        file.write_bytes(content[:60] + (2).to_bytes(4, "big") + content[64:])
        self.assertIn("format version 2", self.refusal("list", "--path", self.path))

    def test_a_purge_asks(self) -> None:
        with mock.patch.object(sys, "stdin", io.StringIO()):
            self.assertIn("say --yes", self.refusal("purge", "--all", "--path", self.path))
        terminal = io.StringIO("n\n")
        terminal.isatty = lambda: True  # type: ignore[method-assign]
        with mock.patch.object(sys, "stdin", terminal):
            error = self.refusal("purge", "--sink", "kafka", "--path", self.path, status=1)
        self.assertIn("Remove all letters of kafka for good? [y/N]", error)
        self.assertIn("nothing was removed", error)
        self.assertEqual(self.ids(), ["kafka/1", "kafka/3"])

    def test_letters_must_be_named(self) -> None:
        self.assertIn("one of the arguments", self.refusal("purge", "--yes", "--path", self.path))
        self.assertIn("not allowed with", self.refusal("purge", "--yes", "--all", "--sink", "kafka", "--path", self.path))

    def test_a_redrive_needs_a_gateway(self) -> None:
        error = self.refusal("redrive", "--all", "--path", self.path, status=1)
        self.assertIn("no gateway runs with this folder", error)
