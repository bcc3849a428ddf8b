"""The SQL of the documentation works, and the program that follows the file."""

import json
import re
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from unittest import TestCase

import apsw

from fleetgw.adapters.codec.generated import vehicle_data_pb2 as pb
from fleetgw.adapters.sinks.sqlite.settings import StoreSettings
from fleetgw.adapters.sinks.sqlite.store import Store
from fleetgw.domain.records import PeerIdentity, Record, Vehicle
from tests.support.deadline import DEADLINE_S

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "sinks" / "sqlite.md").read_text()
VIN = "5YJ3E1EA7KF000001"
DAY_S = 1_763_942_400  # 2025-11-24


class PageTests(TestCase):
    def setUp(self) -> None:
        self.path = Path(self.enterContext(tempfile.TemporaryDirectory()), "r.sqlite3")
        store = Store(StoreSettings(self.path, "full", 0, 0, 1))
        store.write([self.record(number) for number in range(3)])
        store.close()

    def record(self, number: int) -> Record:
        payload = pb.Payload()
        payload.created_at.seconds = DAY_S + number
        for name, value in (("VehicleSpeed", 65), ("Soc", 90 + number), ("PackVoltage", 390)):
            payload.data.add(key=pb.Field.Value(name)).value.double_value = value
        payload.data.add(key=pb.Field.Location).value.location_value.latitude = 37.5
        return Record("V", b"tx", Vehicle(PeerIdentity("vehicle_device", VIN), VIN, "c"), b"", DAY_S * 1000, payload, 4)

    def test_every_statement_runs_and_finds(self) -> None:
        statements = [
            each for block in re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL) for each in block.split(";\n") if each
        ]
        self.assertEqual(len(statements), 6)
        found = {"ended_at IS NULL": 0, "value > 90": 1, "FROM latest_signals WHERE vin": 4}
        with closing(apsw.Connection(str(self.path))) as connection:
            for statement in statements:
                with self.subTest(statement=statement):
                    expected = next((count for words, count in found.items() if words in statement), 3)
                    self.assertEqual(len(connection.execute(statement).fetchall()), expected)

    def test_columns_of_the_views(self) -> None:
        with closing(apsw.Connection(str(self.path))) as connection:
            views = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'view'"))
            for name in views:
                columns = [row[1] for row in connection.execute(f"PRAGMA table_info({name})")]
                self.assertIn(f"| `{name}` | {', '.join(columns)} |", PAGE)
        self.assertEqual(len(views), 6)

    def test_a_signals_history_is_found_by_vehicle_and_time(self) -> None:
        query = "SELECT value FROM signals WHERE vin = 'x' AND field = 'Soc' AND created_at_ms > 5 ORDER BY created_at_ms"
        with closing(apsw.Connection(str(self.path))) as connection:
            plan = " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}"))
        self.assertIn("SEARCH record USING INDEX sqlite_autoindex_record_1 (vehicle_id=? AND created_at_ms>?)", plan)
        self.assertNotIn("TEMP B-TREE", plan)

    def test_configuration(self) -> None:
        (block,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
        self.assertLessEqual({"path", "retention_days", "max_size_mb"}, json.loads(block)["sqlite"].keys())

    def test_the_follower(self) -> None:
        program = ROOT / "examples" / "consumers" / "sqlite_follow.py"
        command = [sys.executable, str(program), str(self.path), "Soc", "--from-start", "--count", "3"]
        printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=DEADLINE_S).stdout
        self.assertEqual(printed, "".join(f"{(DAY_S + n) * 1000} {VIN} Soc {90.0 + n}\n" for n in range(3)))
