"""Findings of the probes of sinks without a broker: SQLite's file, ZMQ's address."""

import json
import socket
import tempfile
from pathlib import Path
from unittest import TestCase

import apsw
import zmq

from fleetgw.adapters.logs.null import NullLog
from fleetgw.adapters.sinks.sqlite import probe as sqlite
from fleetgw.adapters.sinks.sqlite.settings import StoreSettings
from fleetgw.adapters.sinks.sqlite.store import Store
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.adapters.sinks.zmq import probe as zeromq
from fleetgw.domain.ports import Finding, Verdict
from fleetgw.testing.sink_doubles import ReadableMetrics, ThreadlessReactor
from tests.support.free_ports import free_port

GOOD, LOOK, BAD = Verdict


def context(**settings: object) -> SinkContext:
    return SinkContext("sink", settings, "fleet", ("V",), ThreadlessReactor(), ReadableMetrics(), NullLog())


def worst(findings: list[Finding]) -> Finding:
    return max(findings, key=lambda finding: list(Verdict).index(finding.verdict))


class SqliteTests(TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.path = self.folder / "records.sqlite3"

    def found(self, **settings: object) -> Finding:
        findings = list(sqlite.look(context(path=self.path, max_size_mb=1, **settings)))
        self.assertIn(f"SQLite {apsw.sqlite_lib_version()}", findings[0].what)
        self.whats = [finding.what for finding in findings]
        return worst(findings)

    def made(self) -> None:
        store = Store(StoreSettings(self.path, "full", 0, 0, 5))
        store.open()
        store.close()

    def test_not_there_yet(self) -> None:
        self.assertEqual(self.found().verdict, GOOD)
        self.assertIn(f"{self.path} is not there yet: it is made at the start", self.whats)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_there(self) -> None:
        self.made()
        self.assertEqual(self.found().verdict, GOOD)
        self.assertIn(f"{self.path} can be written, schema version 2, 0 MB", self.whats)

    def test_not_ours(self) -> None:
        with apsw.Connection(str(self.path)) as connection:
            connection.execute("CREATE TABLE recipes (name TEXT)")
        connection.close()
        finding = self.found()
        self.assertEqual((finding.verdict, finding.fix), (BAD, "name another file"))

    def test_no_database(self) -> None:
        self.path.write_text("Dear diary, " * 100)
        finding = self.found()
        self.assertEqual(finding.verdict, BAD)
        self.assertIn("move it away", finding.fix)

    def test_empty_file_is_made_into_one_at_the_start(self) -> None:
        self.path.touch()
        self.assertEqual(self.found().verdict, GOOD)
        self.assertEqual(self.path.stat().st_size, 0)

    def test_locked_by_another(self) -> None:
        self.made()
        other = apsw.Connection(str(self.path))
        self.addCleanup(other.close)
        other.execute("BEGIN IMMEDIATE")
        finding = self.found(write_timeout_s=0.2)
        self.assertEqual(finding.verdict, BAD)
        self.assertIn("another program holds the file's write lock", finding.what)

    def test_no_folder(self) -> None:
        self.path = self.folder / "lost" / "records.sqlite3"
        self.assertEqual(self.found().fix, f"mkdir -p {self.folder}/lost")

    def test_room(self) -> None:
        endless = worst(list(sqlite.look(context(path=self.path, max_size_mb=0))))
        self.assertEqual(endless.verdict, LOOK)
        self.assertIn("may grow without end", endless.what)
        huge = worst(list(sqlite.look(context(path=self.path, max_size_mb=10**15))))
        self.assertEqual((huge.verdict, huge.fix), (LOOK, "make room, or lower max_size_mb"))


class ZmqTests(TestCase):
    def free_address(self) -> str:
        return f"tcp://127.0.0.1:{free_port()}"

    def found(self, **settings: object) -> Finding:
        findings = list(zeromq.look(context(**settings)))
        self.whats = [finding.what for finding in findings]
        return worst(findings)

    def test_free(self) -> None:
        addr = self.free_address()
        self.assertEqual(self.found(addr=addr).verdict, GOOD)
        self.assertIn(f"{addr} can be bound", self.whats)
        self.assertIn(f"libzmq {zmq.zmq_version()}, PUB", self.whats)

    def test_taken_by_a_zmq_socket(self) -> None:
        with zmq.Context() as library, library.socket(zmq.PUB) as other:
            port = other.bind_to_random_port("tcp://127.0.0.1")
            finding = self.found(addr=f"tcp://127.0.0.1:{port}")
        self.assertEqual(finding.verdict, LOOK)
        self.assertIn("taken by a ZeroMQ socket", finding.what)

    def test_taken_by_another(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            finding = self.found(addr=f"tcp://127.0.0.1:{listener.getsockname()[1]}")
        self.assertEqual(finding.verdict, BAD)
        self.assertIn("is taken", finding.what)

    def test_address_of_another_machine(self) -> None:
        finding = self.found(addr="tcp://192.0.2.1:5284")
        self.assertEqual(finding.verdict, BAD)
        self.assertIn("cannot be bound", finding.what)

    def test_open_to_everybody(self) -> None:
        port = self.free_address().rpartition(":")[2]
        self.assertEqual(self.found(addr=f"tcp://*:{port}").verdict, LOOK)

    def test_curve(self) -> None:
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        public, secret = (key.decode() for key in zmq.curve_keypair())
        (folder / "own.json").write_text(json.dumps({"public": public, "secret": secret}))
        (folder / "allowed.json").write_text(json.dumps([public, public[::-1]]))
        keys = {"addr": self.free_address(), "server_key_json_path": folder / "own.json"}
        self.assertEqual(self.found(**keys).verdict, LOOK)
        self.assertEqual(self.found(**keys, allowed_public_keys_json_path=folder / "allowed.json").verdict, GOOD)
        self.assertIn(f"CURVE, our public key is {public}; 2 clients are let in", self.whats)
        self.assertNotIn(secret, repr(self.whats))
