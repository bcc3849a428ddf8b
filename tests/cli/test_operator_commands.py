"""``fleetgw vehicles``, ``signals`` and ``tap`` against a stub: golden output, exit statuses, bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any
from unittest import TestCase, mock

from rich.console import Console

from tests.support import gateway_answers as answers
from tests.support.command_line import run
from tests.support.deadline import DEADLINE_S
from tests.support.gateway_answers import NOW_MS, OTHER_VIN, VIN
from tests.support.stub_status import TOKEN, Lines, Refused, StubStatus

VEHICLES = """\
vehicle             presence                    last record   records   signals today   network    client   address
────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
5YJ3E1EA7KF000001   ● online 2 h 14 min             3 s ago     1,204          18,220   wifi       1.2.0    10.0.0.8
5YJ3E1EA7KF000003   ● online 2 h 14 min x2                          0          18,220   cellular   1.2.0    10.0.0.8
5YJ3E1EA7KF000002   ○ offline 14 min         14 min 1 s ago     1,204          18,220              1.2.0    10.0.0.8

3 vehicles, 2 online
"""

SIGNALS = """\
2,000,120 signals since the start 2026-11-20 17:20: V 2,000,000, alerts 120

vehicle               11-21     11-22     11-23     11-24     11-25     11-26     11-27       total   share
──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
5YJ3E1EA7KF000001   150,000   150,000   150,000   150,000   150,000   150,000   150,000   1,200,000   60.0%   ████████████
5YJ3E1EA7KF000002         0         0         0         0         0         0         0     300,120   15.0%   ███
others                                                                                      500,000   25.0%
"""

NARROW_VEHICLES = """\
vehicle             presence                    last record   records
─────────────────────────────────────────────────────────────────────
5YJ3E1EA7KF000001   ● online 2 h 14 min             3 s ago     1,204
5YJ3E1EA7KF000003   ● online 2 h 14 min x2                          0
5YJ3E1EA7KF000002   ○ offline 14 min         14 min 1 s ago     1,204

3 vehicles, 2 online
"""

NARROW_SIGNALS = """\
2,000,120 signals since the start 2026-11-20 17:20: V 2,000,000, alerts 120

vehicle               11-26     11-27       total   share
────────────────────────────────────────────────────────────────────────
5YJ3E1EA7KF000001   150,000   150,000   1,200,000   60.0%   ████████████
5YJ3E1EA7KF000002         0         0     300,120   15.0%   ███
others                                    500,000   25.0%
"""

ESCAPE = "\x1b[2J[red]\x9b1m\u202e"
HOSTILE = f"V{ESCAPE}\r\n"


class OperatorCase(TestCase):
    def setUp(self) -> None:
        self.stub = StubStatus(self)
        self.enterContext(mock.patch.dict(os.environ, {"FLEETGW_TOKEN": TOKEN, "TZ": "UTC", "COLUMNS": "160"}))
        time.tzset()
        self.addCleanup(time.tzset)
        self.enterContext(mock.patch("time.time", return_value=NOW_MS / 1000))

    def fleetgw(self, command: str, *arguments: object, status: int = 0) -> str:
        """Standard output of a command that says nothing on standard error."""
        ended, out, error = run(command, "--url", self.stub.url, *arguments)
        self.assertEqual((ended, error), (status, ""), out)
        return "".join(f"{line.rstrip(' ')}\n" for line in out.split("\n")[:-1])

    def problem(self, command: str, *arguments: object) -> str:
        """The line on standard error of a command that cannot ask the gateway."""
        status, out, error = run(command, "--url", self.stub.url, *arguments)
        self.assertEqual((status, error.count("\n")), (2, 1), out + error)
        return error.replace(self.stub.url, "URL")

    def at_width(self, width: int, command: str) -> str:
        """Standard output of a command in a terminal of so many columns."""
        console = Console(width=width, highlight=False)
        with mock.patch("fleetgw.cli.console.table_console", return_value=console), console.capture() as capture:
            self.assertEqual(self.fleetgw(command), "")
        return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())

    def assertHarmless(self, printed: str) -> None:
        self.assertEqual([each for each in printed if not each.isprintable() and each != "\n"], [])


class VehiclesTests(OperatorCase):
    def setUp(self) -> None:
        super().setUp()
        self.stub.answers["/api/vehicles"] = answers.vehicles()

    def test_online_first(self) -> None:
        self.assertEqual(self.fleetgw("vehicles"), VEHICLES)
        self.assertEqual(self.stub.asked[-1].query, {"limit": "100"})

    def test_a_narrow_terminal_shows_whole_vins_and_numbers(self) -> None:
        self.assertEqual(self.at_width(80, "vehicles"), NARROW_VEHICLES)
        self.assertIn("\n5YJ3E1EA7KF000001   ● online 2 h 14 min\n", self.at_width(45, "vehicles"))

    def test_a_long_client_version_takes_no_room_of_others(self) -> None:
        self.stub.answers["/api/vehicles"]["vehicles"][0]["client_version"] = "x" * 500
        self.assertIn(f"   wifi       {'x' * 23}…   10.0.0.8\n", self.fleetgw("vehicles"))

    def test_an_empty_variable_is_no_vehicle(self) -> None:
        for command in ("vehicles", "tap", "trace"):
            for vin in ("", " "):
                status, out, error = run(command, "--url", self.stub.url, "--vin", vin)
                self.assertEqual((status, out), (2, ""))
                self.assertIn("argument --vin: it is empty; leave the option out, or give it a value", error)
        self.assertEqual(self.stub.asked, [])

    def test_a_part_of_them(self) -> None:
        self.stub.answers["/api/vehicles"] = {"vehicles": [answers.vehicle()], "total": 12_000}
        printed = self.fleetgw("vehicles", "--search", "7KF", "--limit", 1)
        self.assertTrue(printed.endswith("\n1 of 12,000 vehicles; --limit shows more, --search finds some\n"), printed)
        self.assertEqual(self.stub.asked[-1].query, {"search": "7KF", "limit": "1"})
        self.stub.answers["/api/vehicles"] = {"vehicles": [answers.vehicle()] * 1000, "total": 12_000}
        self.assertTrue(
            self.fleetgw("vehicles", "--limit", 1000).endswith("\n1,000 of 12,000 vehicles; --search finds some\n")
        )

    def test_none(self) -> None:
        self.stub.answers["/api/vehicles"] = {"vehicles": [], "total": 0}
        self.assertEqual(self.fleetgw("vehicles"), "no vehicle has connected since the start\n")
        self.assertEqual(self.fleetgw("vehicles", "--search", "x"), "no vehicle has 'x' in its VIN\n")

    def test_is_this_car_online(self) -> None:
        self.assertEqual(
            self.fleetgw("vehicles", "--vin", VIN.lower()),
            f"{VIN} is online: it connected 2 h 14 min ago, over wifi, client 1.2.0, from 10.0.0.8, last record 3 s ago, "
            "1,204 records\n",
        )
        self.assertEqual(
            self.fleetgw("vehicles", "--vin", OTHER_VIN, status=1), f"{OTHER_VIN} is offline: it left 14 min ago\n"
        )
        self.assertEqual(
            self.fleetgw("vehicles", "--vin", "5YJ3", status=1),
            "5YJ3 is offline: it has not connected since the start of the gateway\n",
        )
        self.assertEqual(self.stub.asked[-1].query["search"], "5YJ3")
        self.assertIn("2 connections, over cellular", self.fleetgw("vehicles", "--vin", "5YJ3E1EA7KF000003"))

    def test_json(self) -> None:
        everything = json.loads(self.fleetgw("vehicles", "--json"))
        self.assertEqual([each["online"] for each in everything["vehicles"]], [True, True, False])
        self.assertEqual(everything["total"], 3)
        self.assertEqual(json.loads(self.fleetgw("vehicles", "--json", "--vin", VIN)), answers.vehicle())
        self.assertEqual(
            json.loads(self.fleetgw("vehicles", "--json", "--vin", "x", status=1)), {"vin": "x", "online": False}
        )

    def test_hostile_text_does_not_reach_the_terminal(self) -> None:
        hostile = answers.vehicle(HOSTILE, client_version=HOSTILE, network=HOSTILE, address=HOSTILE)
        self.stub.answers["/api/vehicles"] = {"vehicles": [hostile], "total": 1}
        self.assertIn("[red]", self.fleetgw("vehicles"))
        for arguments in ((), ("--json",), ("--vin", HOSTILE), ("--vin", HOSTILE, "--json")):
            with self.subTest(arguments):
                _, out, error = run("vehicles", "--url", self.stub.url, *arguments)
                self.assertHarmless(out + error)

    def test_answers_of_another_form(self) -> None:
        for answer in (
            [],
            {"vehicles": 1},
            {"vehicles": [{"vin": 1, "online": True}], "total": 1},
            "null",
            {"vehicles": []},
        ):
            with self.subTest(answer=answer):
                self.stub.answers["/api/vehicles"] = answer
                self.assertIn("URL answers in a form that this command does not know", self.problem("vehicles"))

    def test_no_gateway_to_ask(self) -> None:
        self.stub.answers["/api/vehicles"] = Refused(403, {"error": "no token is configured", "fix": "set operations.token"})
        self.assertEqual(
            self.problem("vehicles"), "fleetgw vehicles: URL/api/vehicles: no token is configured; set operations.token\n"
        )

    def test_bad_limits(self) -> None:
        for text in ("0", "-1", "x", "1e3", "9999999999"):
            with self.subTest(text=text):
                status, _, error = run("vehicles", "--url", self.stub.url, f"--limit={text}")
                self.assertEqual(status, 2)
                self.assertIn("is no whole number from 1 on", error)


class SignalsTests(OperatorCase):
    def setUp(self) -> None:
        super().setUp()
        self.stub.answers["/api/signals"] = answers.signals()

    def test_table(self) -> None:
        self.assertEqual(self.fleetgw("signals"), SIGNALS)
        self.assertEqual(self.stub.asked[-1].query, {"top": "20"})

    def test_a_narrow_terminal_shows_the_latest_days(self) -> None:
        self.assertEqual(self.at_width(80, "signals"), NARROW_SIGNALS)

    def test_nothing_yet(self) -> None:
        self.stub.answers["/api/signals"] = {"since_ms": NOW_MS, "total": {}, "vehicles": [], "others": 0}
        first, second = self.fleetgw("signals", "--top", 5).splitlines()
        self.assertRegex(first, r"^0 signals since the start [-\d]+ [\d:]+$")
        self.assertEqual(second, "no vehicle has sent a signal yet")
        self.assertEqual(self.stub.asked[-1].query, {"top": "5"})

    def test_json(self) -> None:
        self.assertEqual(json.loads(self.fleetgw("signals", "--json")), answers.signals())

    def test_hostile_text_does_not_reach_the_terminal(self) -> None:
        vehicle = {"vin": HOSTILE, "today": 1, "total": 1, "per_day": {HOSTILE: 1}}
        self.stub.answers["/api/signals"] = {"since_ms": 0, "days": [HOSTILE], "total": {HOSTILE: 1}, "vehicles": [vehicle]}
        self.assertHarmless(self.fleetgw("signals") + self.fleetgw("signals", "--json"))


class TapTests(OperatorCase):
    def tap(self, *lines: object, stays_open: bool = False) -> None:
        """Let the gateway send these lines."""
        self.stub.answers["/api/tap"] = Lines([json.dumps(each) for each in lines], stays_open=stays_open)

    def test_lines_of_text(self) -> None:
        alert = answers.record(type="alerts", data=[{"Name": "Alarm", "Audiences": ["Customer"]}, {"Name": "Low"}])
        custom = answers.record(type="dashcam", data={"Type": "dashcam", "SizeBytes": 5})
        self.tap(answers.record(), alert, custom, stays_open=True)
        self.assertEqual(
            self.fleetgw("tap", "--limit", 3).splitlines(),
            [
                f"17:20:00.000  {VIN}  V  VehicleSpeed=61.4  Gear=ShiftStateD  Location=37.413700,-122.140000  Locked=true",
                f'17:20:00.000  {VIN}  alerts  Name=Alarm  Audiences=["Customer"]  Name=Low',
                f"17:20:00.000  {VIN}  dashcam  Type=dashcam  SizeBytes=5",
            ],
        )

    def test_colours_are_those_of_every_text_on_a_terminal(self) -> None:
        self.tap(answers.record())
        with mock.patch("fleetgw.adapters.text.terminal.has_colours", return_value=True):
            self.assertIn(f"\x1b[36m{VIN}\x1b[0m", self.fleetgw("tap", "--limit", 1))

    def test_numbers(self) -> None:
        self.tap(answers.record(data={"a": 61.400001525878906, "b": 75743.932790001, "c": 1e300, "d": 0.0, "e": 5}))
        self.assertTrue(self.fleetgw("tap", "--limit", 1).endswith("  a=61.4  b=75743.93279  c=1e+300  d=0  e=5\n"))

    def test_json_lines(self) -> None:
        self.tap(answers.record(), answers.record(txid="t-2"), stays_open=True)
        printed = self.fleetgw("tap", "--limit", 2, "--json")
        self.assertEqual([json.loads(line)["txid"] for line in printed.splitlines()], ["t-1", "t-2"])
        self.assertEqual(json.loads(printed.splitlines()[0]), answers.record())

    def test_filters(self) -> None:
        self.tap(answers.record(), stays_open=True)
        self.fleetgw("tap", "--vin", "a", "--vin", "b", "--type", "V,alerts", "--field", "Soc", "--limit", 1)
        self.assertEqual(self.stub.asked[-1].query, {"vin": "a,b", "type": "V,alerts", "field": "Soc"})

    def test_records_that_were_left_out(self) -> None:
        self.tap({"dropped": 12}, answers.record(), stays_open=True)
        for arguments, printed in (((), 1), (("--json",), 2)):
            status, out, error = run("tap", "--url", self.stub.url, "--limit", 1, *arguments)
            self.assertEqual((status, len(out.splitlines())), (0, printed))
            self.assertEqual(
                error, "fleetgw tap: 12 records were left out: more come than a tap shows, or than its reader takes\n"
            )

    def test_a_span(self) -> None:
        self.tap(stays_open=True)
        self.assertEqual(self.fleetgw("tap", "--seconds", 0.05), "")
        for text in ("0", "-1", "nan", "inf", "1e300", "soon"):
            with self.subTest(text=text):
                status, _, error = run("tap", "--url", self.stub.url, f"--seconds={text}")
                self.assertEqual(status, 2)
                self.assertIn("is no number above 0", error)

    def test_a_gateway_that_goes_away(self) -> None:
        self.tap(answers.record())
        status, out, error = run("tap", "--url", self.stub.url)
        self.assertEqual((status, len(out.splitlines())), (2, 1))
        self.assertIn("has ended the stream; the gateway stops", error)

    def test_lines_that_are_no_records(self) -> None:
        for line in ("<html>", "[]", "1", "[" * 100_000):
            with self.subTest(line=line[:10]):
                self.stub.answers["/api/tap"] = Lines([line])
                self.assertIn("URL/api/tap sends a line that is no record", self.problem("tap"))

    def test_odd_records(self) -> None:
        for record in (
            {},
            {"at_ms": "x", "data": None},
            {"at_ms": None, "data": [1, [2], None]},
            {"type": ["V"], "data": "x"},
        ):
            with self.subTest(record=record):
                self.tap(record, stays_open=True)
                self.fleetgw("tap", "--limit", 1)

    def test_hostile_text_does_not_reach_the_terminal(self) -> None:
        data: dict[str, Any] = {HOSTILE: HOSTILE, "nested": {HOSTILE: [HOSTILE]}}
        self.tap(answers.record(vin=HOSTILE, type=HOSTILE, data=data), stays_open=True)
        for arguments in ((), ("--json",)):
            with self.subTest(arguments):
                printed = self.fleetgw("tap", "--limit", 1, *arguments)
                self.assertEqual(printed.count("\n"), 1)
                self.assertHarmless(printed)

    def test_ctrl_c_is_its_ordinary_end(self) -> None:
        with mock.patch("fleetgw.cli.tap._values", side_effect=KeyboardInterrupt):
            self.tap(stays_open=True)
            self.assertEqual(self.fleetgw("tap"), "")

    def test_a_reader_of_its_output_that_goes_away_is_its_ordinary_end(self) -> None:
        self.tap(*[answers.record()] * 1000, stays_open=True)
        command = [
            sys.executable,
            "-c",
            "import sys; from fleetgw.cli import main; sys.exit(main())",
            "tap",
            "--url",
            self.stub.url,
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as tap:
            self.assertIn(VIN, tap.stdout.readline())
            tap.stdout.close()
            self.assertEqual((tap.wait(DEADLINE_S), tap.stderr.read()), (0, ""))
