"""Output of ``fleetgw query``."""

import argparse
import contextlib
import csv
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import TestCase, mock

from fleetgw.adapters.codec.generated import vehicle_data_pb2 as pb
from fleetgw.adapters.codec.generated.vehicle_alert_pb2 import VehicleAlerts
from fleetgw.adapters.sinks.sqlite.reading import CannotRead, Signal
from fleetgw.adapters.sinks.sqlite.settings import StoreSettings
from fleetgw.adapters.sinks.sqlite.store import Store
from fleetgw.cli import main
from fleetgw.cli.plotting import lines, to_curve
from fleetgw.cli.query import moment_ms
from fleetgw.domain.records import PeerIdentity, Record, Vehicle

VIN = "5YJ3E1EA7KF000001"


@contextlib.contextmanager
def in_zone(name: str) -> Iterator[None]:
    try:
        with mock.patch.dict(os.environ, {"TZ": name}):
            time.tzset()
            yield
    finally:
        time.tzset()


class QueryTests(TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.path = self.folder / "r.sqlite3"
        self.now_s = int(time.time())
        self.enterContext(mock.patch("fleetgw.cli.query.time.time", return_value=self.now_s))
        self.store = Store(StoreSettings(self.path, "full", 0, 0, 1))
        self.addCleanup(self.store.close)
        self.write("V", *(self.signals(age_s) for age_s in (7200, 60, 30)))
        alerts = VehicleAlerts()
        alerts.alerts.add(name="tirePressureLow", audiences=[1]).started_at.seconds = self.now_s - 50
        self.write("alerts", alerts)
        self.store.update_latest()

    def write(self, record_type: str, *contents: object) -> None:
        vehicle = Vehicle(PeerIdentity("vehicle_device", VIN), VIN, "c")
        self.store.write([Record(record_type, b"tx", vehicle, b"", self.now_s * 1000, content, 1) for content in contents])

    def signals(self, age_s: int) -> pb.Payload:
        payload = pb.Payload()
        payload.created_at.seconds = self.now_s - age_s
        payload.data.add(key=pb.Field.Soc).value.double_value = age_s / 100
        payload.data.add(key=pb.Field.Gear).value.shift_state_value = pb.ShiftStateD if age_s == 60 else pb.ShiftStateP
        payload.data.add(key=pb.Field.Locked).value.boolean_value = True
        location = payload.data.add(key=pb.Field.Location).value.location_value
        location.latitude, location.longitude = 37.5, -122.25
        payload.data.add(key=pb.Field.Version).value.string_value = "[red]\x1b[2J"
        payload.data.add(key=pb.Field.RouteLine).value.invalid = True
        return payload

    def query(self, *arguments: str, status: int = 0) -> str:
        """Output on both streams."""
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            self.assertEqual(main(["query", "--db", str(self.path), *arguments]), status, printed.getvalue())
        return printed.getvalue()

    def test_latest(self) -> None:
        table = self.query("latest", VIN)
        for words in ("Soc", "0.3", "ShiftStateP", "true", "37.500000, -122.250000", "(invalid)"):
            self.assertIn(words, table)
        self.assertIn("[red]\ufffd[2J", table, "text of a vehicle neither colours nor clears the terminal")

    def test_no_format_prints_a_vehicles_control_characters(self) -> None:
        """Values, names of alerts and audiences, and errors about arguments."""
        hostile = "x\x1b[2J\x9b31m\u2028\u202e\r\ny"
        payload = pb.Payload()
        payload.created_at.seconds = self.now_s
        payload.data.add(key=pb.Field.Version).value.string_value = hostile
        alerts = VehicleAlerts()
        alerts.alerts.add(name=hostile).started_at.seconds = self.now_s
        self.write("V", payload)
        self.write("alerts", alerts)
        self.store.update_latest()
        for arguments in (
            ["latest", VIN],
            ["signal", VIN, "Version"],
            ["alerts"],
            ["vehicles"],
            ["latest", f"[red]{hostile}"],
            ["signal", VIN, hostile],
        ):
            for form in ("table", "csv", "json"):
                with self.subTest(arguments=arguments, form=form):
                    printed = io.StringIO()
                    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
                        main(["query", "--db", str(self.path), "--format", form, *arguments])
                    self.assertTrue(printed.getvalue().replace("\n", "").isprintable(), repr(printed.getvalue()))
        names = [alert["name"] for alert in json.loads(self.query("alerts", "--format", "json"))]
        self.assertIn(hostile, names)
        self.assertIn(r"x\u001b[2J\u009b31m\u2028\u202e\r\ny", self.query("alerts", "--format", "csv"))
        self.assertTrue(self.query("signal", VIN, "Version", "--plot").replace("\n", "").isprintable())

    def test_json_and_csv_hold_the_same(self) -> None:
        objects = {each["field"]: each["value"] for each in json.loads(self.query("latest", VIN, "--format", "json"))}
        self.assertEqual(objects["Location"], {"latitude": 37.5, "longitude": -122.25})
        self.assertEqual((objects["Soc"], objects["Locked"], objects["RouteLine"]), (0.3, True, None))
        rows = list(csv.reader(io.StringIO(self.query("--format", "csv", "latest", VIN))))
        self.assertEqual(rows[0], ["field", "value", "created_at"])
        cells = {name: value for name, value, _ in rows[1:]}
        self.assertEqual((cells["Soc"], cells["Locked"], cells["RouteLine"]), ("0.3", "true", ""))
        self.assertEqual(json.loads(cells["Location"]), objects["Location"])

    def test_signal_within_a_time(self) -> None:
        def values(*arguments: str) -> list[float]:
            return [each["value"] for each in json.loads(self.query("signal", VIN, "Soc", "--format", "json", *arguments))]

        self.assertEqual(values(), [72, 0.6, 0.3])
        self.assertEqual(values("--since", "1h"), [0.6, 0.3])
        self.assertEqual(values("--since", "1h", "--until", "45s"), [0.6])
        self.assertIn("look further back with --since", self.query("signal", VIN, "Soc", "--since", "1s"))

    def test_vehicles_and_alerts(self) -> None:
        (vehicle,) = json.loads(self.query("vehicles", "--format", "json"))
        self.assertEqual((vehicle["vin"], vehicle["fields"]), (VIN, 6))
        for arguments in ((), (VIN,), ("--since", "1m")):
            (alert,) = json.loads(self.query("alerts", "--format", "json", *arguments))
            self.assertEqual((alert["name"], alert["ended_at"], alert["audiences"]), ("tirePressureLow", None, "Customer"))
        self.assertIn("no alerts in this time", self.query("alerts", "--since", "10s"))

    def test_missing_files_and_fields(self) -> None:
        self.assertEqual(
            self.query("latest", "5YJ3E1EA7KF000002", status=1),
            f"fleetgw query: no vehicle 5YJ3E1EA7KF000002; did you mean {VIN}?\n",
        )
        self.assertIn("did you mean Soc?", self.query("signal", VIN, "soc", status=1))
        self.assertIn("no vehicle X", self.query("alerts", "X", status=1))
        self.assertIn("cannot be drawn", self.query("signal", VIN, "Location", "--plot", status=1))

    def test_plot_where_there_is_no_braille(self) -> None:
        printed = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        with contextlib.redirect_stdout(printed):
            self.assertEqual(main(["query", "--db", str(self.path), "signal", VIN, "Soc", "--plot"]), 0)
        printed.seek(0)
        self.assertIn("0.3 |", printed.read())

    def test_png(self) -> None:
        try:
            import matplotlib as _  # noqa: F401
        except ImportError:
            self.skipTest("pip install 'fleetgw[plot]'")
        file = self.folder / "gear.png"
        self.query("signal", VIN, "Gear", "--png", str(file))
        self.assertEqual(file.read_bytes()[:8], b"\x89PNG\r\n\x1a\n")

    def test_png_without_matplotlib(self) -> None:
        with mock.patch.dict(sys.modules, {"matplotlib.backends.backend_agg": None}):
            answer = self.query("signal", VIN, "Gear", "--png", str(self.folder / "gear.png"), status=1)
        self.assertIn("pip install 'fleetgw[plot]'", answer)


class MomentTests(TestCase):
    def test_ages_and_moments(self) -> None:
        with mock.patch("time.time", return_value=1_764_000_000.0):
            for text, expected_ms in (
                ("90s", 1_763_999_910_000),
                ("1.5h", 1_763_994_600_000),
                ("7d", 1_763_395_200_000),
                ("2025-11-24T16:00:00Z", 1_764_000_000_000),
                ("2025-11-24T17:00+01:00", 1_764_000_000_000),
            ):
                with self.subTest(text=text):
                    self.assertEqual(moment_ms(text), expected_ms)

    def test_invalid_times(self) -> None:
        for text in ("", "yesterday", "h", "2x", "nanh", "infd", "-"):
            with self.subTest(text=text), self.assertRaises(argparse.ArgumentTypeError):
                moment_ms(text)


class PlotTests(TestCase):
    def picture(self, *values: object, width: int = 40) -> list[str]:
        return lines(to_curve([Signal("F", 1000 * at_s, value) for at_s, value in enumerate(values)]), "title", width)

    def test_a_step_goes_up(self) -> None:
        picture = self.picture(0, 0, 1, 1, None)
        self.assertTrue(picture[2].startswith("  1 ┤"), picture[2])
        self.assertTrue(picture[16].startswith("  0 ┤\u28c0"), picture[16])
        self.assertNotIn("\u28c0", picture[2][:15], "nothing at the top at first")
        self.assertLessEqual(max(map(len, picture)), 40)

    def test_names_and_numbers_as_text(self) -> None:
        self.assertEqual(to_curve([Signal("F", 0, "2.5"), Signal("F", 1000, 3)]).points, ((0, 2.5), (1, 3)))
        curve = to_curve([Signal("F", 0, "P"), Signal("F", 1000, "D"), Signal("F", 2000, "P")])
        self.assertEqual((curve.names, curve.points), (("D", "P"), ((0, 1), (1, 0), (2, 1))))
        self.assertEqual(to_curve([Signal("F", 0, True), Signal("F", 1, False)]).names, ("false", "true"))
        picture = self.picture("P", "D")
        self.assertTrue(picture[2].startswith("P ┤") and picture[16].startswith("D ┤"), picture)

    def test_one_value_and_a_constant(self) -> None:
        for values in ((5,), (5, 5, 5), (0,), ("on",), ("NaN", 3.0)):
            with self.subTest(values=values):
                self.assertEqual(len(self.picture(*values)), 19)

    def test_shows_days_and_time_zone(self) -> None:
        with in_zone("Europe/Berlin"):
            self.assertEqual(self.picture(0, 1)[0], "title, 1970-01-01, CET")
            days = lines(to_curve([Signal("F", 0, 1), Signal("F", 86_400_000 * 200, 2)]), "title", 40)
            self.assertEqual(days[0], "title, 1970-01-01 to 1970-07-20, CET")

    def test_nothing_to_draw(self) -> None:
        for values in ((None, None), ({"latitude": 1},)):
            with self.subTest(values=values), self.assertRaises(CannotRead):
                self.picture(*values)
