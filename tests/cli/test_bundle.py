"""``fleetgw bundle``: its parts, what it hides, its failures, and its file."""

from __future__ import annotations

import base64
import io
import json
import os
import stat
import tempfile
from pathlib import Path
from unittest import TestCase, mock
from zipfile import ZipFile

from prometheus_client import CollectorRegistry

from fleetgw.adapters.logs.lines import JsonLog, TextLog
from fleetgw.adapters.logs.terminal_lines import TerminalLog
from fleetgw.adapters.metrics.prometheus import PrometheusExporter
from fleetgw.adapters.metrics.store import MetricStore
from fleetgw.app.pipeline.accounts import VehicleAccount
from fleetgw.cli.bundle_file import Document, without_records, without_vins
from fleetgw.domain.metrics import RECORD_TOTAL
from tests.support import gateway_answers as answers
from tests.support.command_line import run
from tests.support.gateway_answers import OTHER_VIN, VIN
from tests.support.gateway_process import write_config
from tests.support.stub_status import TOKEN, Refused, StubStatus

SECRET = "hush-hush-hush"
LOG = f"""\
time="2026-11-27T17:20:00Z" level=info msg=socket_connected remote=10.0.0.8 vin={VIN} network=wifi
{{"context":"fleet-telemetry","level":"warn","msg":"x","vin":"odd car","error":"password={SECRET}"}}
time="2026-11-27T17:20:00Z" level=info msg=record_payload data={{"Location":"37.4"}} vin={VIN}
{{"data":{{"Location":"37.4"}},"msg":"record_payload","vin":"{VIN}"}}
\x1b[36mcoloured\x1b[0m vin=\x1b[1mpainted-car\x1b[0m
the odd car has left, {OTHER_VIN.lower()} too; my token is {TOKEN}
"""


def metrics() -> str:
    """The metrics of a gateway that has received a record."""
    store = MetricStore()
    store.counter(RECORD_TOTAL, record_type="V").add(1)
    VehicleAccount("V", store).ack_at_once(1)
    return PrometheusExporter(store, CollectorRegistry()).exposition().decode() + f'signal_total{{vin="{VIN}"}} 3.0\n'


class BundleCase(TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.file = self.folder / "bundle.zip"
        self.stub = StubStatus(self)
        self.stub.answers |= {
            "/api/overview": answers.overview(),
            "/health": {"state": "ok"},
            "/api/config": {"port": 4443, "vins_signal_tracking_enabled": [VIN, "one-car"]},
            "/api/refusals": {"refusals": [{"vin": OTHER_VIN, "text": f"{OTHER_VIN}: expired"}]},
            "/api/metrics": metrics(),
            "/api/profile": "main;run 1200\n",
            "/api/log": LOG,
            "/api/traces": {"traces": [{"id": 7, "vin": VIN, "next_line": 6}]},
            "/api/traces/7": self.trace,
            "/api/vehicles": answers.vehicles(),
        }
        self.stub.open_paths.add("/health")
        self.enterContext(mock.patch.dict(os.environ, {"FLEETGW_TOKEN": TOKEN}))
        self.sleep = self.enterContext(mock.patch("fleetgw.cli.bundle_parts.time.sleep"))

    def trace(self, query: dict[str, str]) -> str:
        """Two lines of a trace of five."""
        first = int(query["from"])
        return "".join(f'{{"n": {each}, "text": "hello of {VIN}"}}\n' for each in range(first, min(first + 2, 6)))

    def bundle(self, *arguments: object, status: int = 0) -> str:
        """Standard output of the command."""
        ended, out, error = run("bundle", "--url", self.stub.url, "--output", self.file, *arguments)
        self.assertEqual((ended, error), (status, ""), out)
        return out

    def files(self) -> dict[str, str]:
        """The files in the zip by their names in its folder."""
        with ZipFile(self.file) as archive:
            self.assertIsNone(archive.testzip())
            self.assertEqual(len({name.partition("/")[0] for name in archive.namelist()}), 1)
            self.assertRegex(archive.namelist()[0], r"^fleetgw-bundle-\d{8}-\d{6}/README.txt$")
            return {name.partition("/")[2]: archive.read(name).decode() for name in archive.namelist()}


class ContentsTests(BundleCase):
    def test_everything_is_in_it(self) -> None:
        printed = self.bundle(status=1)
        files = self.files()
        self.assertEqual(
            list(files),
            [
                "README.txt",
                "versions.txt",
                "overview.json",
                "health.json",
                "configuration.json",
                "refusals.json",
                "metrics-1.txt",
                "profile.txt",
                "metrics-2.txt",
                "ledger.json",
                "log.txt",
                "traces.json",
                "traces/7.jsonl",
            ],
        )
        self.assertEqual(json.loads(files["overview.json"])["vehicles"]["connected"], 9998)
        self.assertEqual(json.loads(files["ledger.json"])["record_types"][0]["received"], 1)
        self.assertEqual(files["profile.txt"], "main;run 1200\n")
        self.assertRegex(files["versions.txt"], r"(?s)^fleetgw .*\nPython 3.*\nOpenSSL .*\nattrs \d.*\ntwisted \d")
        for name, content in files.items():
            self.assertRegex(printed, rf"\n  {name} +{len(content.encode()) if len(content) < 1000 else ''}")
            self.assertIn(name, files["README.txt"] if name != "README.txt" else printed)
        self.assertTrue(printed.startswith(f"{self.file}  "), printed)
        asked = {each.path: each.query for each in self.stub.asked}
        self.assertEqual((asked["/api/profile"], asked["/api/log"]), ({"seconds": "10"}, {"lines": "2000"}))

    def test_the_metrics_are_some_seconds_apart(self) -> None:
        self.bundle(status=1)
        ((seconds,), _) = self.sleep.call_args
        self.assertTrue(4 < seconds <= 5, seconds)
        paths = [each.path for each in self.stub.asked]
        first = paths.index("/api/metrics")
        self.assertEqual(paths[first : first + 3], ["/api/metrics", "/api/profile", "/api/metrics"])

    def test_no_vins(self) -> None:
        printed = self.bundle(status=1)
        files = self.files()
        everything = "".join(f"{name}\n{content}\n" for name, content in files.items()) + printed
        for name in (VIN, OTHER_VIN, "odd car", "one-car", "painted-car", "37.4"):
            self.assertNotIn(name.lower(), everything.lower())
        self.assertIn("(2 lines record_payload are left out: records of vehicles)", files["log.txt"])
        self.assertIn("msg=socket_connected remote=10.0.0.8 vin=vehicle-1 network=wifi", files["log.txt"])
        self.assertIn('signal_total{vin="vehicle-1"} 3.0', files["metrics-1.txt"])
        lines = [json.loads(line) for line in files["traces/7.jsonl"].splitlines()]
        self.assertEqual(lines, [{"n": number, "text": "hello of vehicle-1"} for number in range(1, 6)])
        self.assertIn("VINs are replaced: there are vehicle-1 to vehicle-6.", files["README.txt"])

    def test_no_records_whatever_the_form_of_the_log(self) -> None:
        record = {"vin": VIN, "payload_base64": base64.b64encode(VIN.encode() * 5 + b"3").decode()}
        for form in (JsonLog, TextLog, TerminalLog):
            stream = io.BytesIO()
            log = form(stream)
            log.info("record_payload", vin=VIN, data={"Location": "37.4"})
            log.error("dead_letter", error="too large", **record)
            kept = without_records(stream.getvalue().decode())
            self.assertNotIn("37.4", kept)
            self.assertNotIn(record["payload_base64"][:8], kept)
            self.assertIn("(1 lines record_payload are left out: records of vehicles)\n", kept)
            self.assertRegex(kept, r"dead_letter.*too large|too large.*dead_letter")

    def test_no_vins_in_names_of_files(self) -> None:
        (document,), _, vehicles = without_vins([Document(f"{VIN}.txt", "", "")], [], [])
        self.assertEqual((document.name, vehicles), ("vehicle-1.txt", 1))

    def test_vins_where_they_are_wanted(self) -> None:
        self.bundle("--with-vins", status=1)
        files = self.files()
        self.assertIn(f"vin={VIN}", files["log.txt"])
        self.assertIn("record_payload", files["log.txt"])
        self.assertIn("traces/7.jsonl", files)
        self.assertIn("VINs are in these files as they are", files["README.txt"])
        self.assertNotIn("/api/vehicles", [each.path for each in self.stub.asked])

    def test_secrets_never(self) -> None:
        self.stub.answers["/api/overview"] = {"host": f"me:{SECRET}@host", "certificates": "-----BEGIN PRIVATE KEY-----\nx"}
        for arguments in ((), ("--with-vins",)):
            self.bundle(*arguments, status=1)
            everything = "".join(self.files().values())
            self.assertNotIn(SECRET, everything)
            self.assertNotIn(TOKEN, everything)
            self.assertNotIn("BEGIN PRIVATE KEY", everything)

    def test_secrets_of_the_configuration(self) -> None:
        kafka = {"bootstrap.servers": "127.0.0.1:1", "sasl.password": SECRET}
        port = int(self.stub.url.rpartition(":")[2])
        config = write_config(self.folder, host="127.0.0.1", status_port=port, records={"V": ["kafka"]}, kafka=kafka)
        self.stub.answers["/api/log"] = f"the broker says {SECRET}\n"
        doctor = mock.Mock(stdout=f'{{"works": false, "secret": "{SECRET}"}}'.encode())
        with mock.patch("fleetgw.cli.bundle_parts.subprocess.run", return_value=doctor):
            status, out, error = run("bundle", "--config", config, "--output", self.file)
        self.assertEqual((status, error), (0, ""), out)
        files = self.files()
        self.assertEqual(files["log.txt"], "the broker says ********\n")
        self.assertIn("doctor.json", files)
        self.assertNotIn(SECRET, "".join(files.values()))


class FailuresTests(BundleCase):
    def test_a_part_that_fails_leaves_the_others_alone(self) -> None:
        profiled = f"{VIN[:-1]}9 is profiled by {TOKEN}"
        self.stub.answers["/api/profile"] = Refused(503, {"error": profiled, "fix": "wait"})
        self.stub.answers["/api/traces"] = Refused(404, "")
        self.stub.answers["/api/log"] = Refused(500, "")
        printed = self.bundle(status=1)
        files = self.files()
        self.assertTrue({"profile.txt", "log.txt", "traces.json"}.isdisjoint(files))
        self.assertIn("metrics-2.txt", files)
        missing = files["README.txt"].partition("Missing, with the reason:\n")[2]
        self.assertRegex(missing, r"(?m)^  doctor.json: the doctor needs the configuration; name it by --config")
        self.assertRegex(missing, r"(?m)^  profile.txt: http://\S+: vehicle-\d is profiled by \*+; wait$")
        self.assertRegex(missing, r"(?m)^  log.txt: .* HTTP status 500")
        self.assertRegex(printed, r"(?m)^  traces.json +missing  http")

    def test_an_error_that_nobody_expects_leaves_the_other_parts_alone(self) -> None:
        with mock.patch("fleetgw.cli.bundle_parts.platform.platform", side_effect=AssertionError("odd")):
            self.bundle(status=1)
        files = self.files()
        self.assertIn("  versions.txt: AssertionError: odd\n", files["README.txt"])
        self.assertIn("traces.json", files)

    def test_a_long_trace_is_cut(self) -> None:
        self.stub.answers["/api/traces"] = {"traces": [{"id": 7, "next_line": 6000}]}
        self.stub.answers["/api/traces/7"] = '{"n": 1000, "text": "x"}\n'
        with mock.patch("fleetgw.cli.bundle_parts.TRACE_BYTES", 60):
            self.bundle(status=1)
        self.assertEqual(self.files()["traces/7.jsonl"].count("\n"), 3)
        asked = [each.query["from"] for each in self.stub.asked if each.path == "/api/traces/7"]
        self.assertEqual(asked, ["1000", "1001", "1001"])

    def test_a_trace_of_another_form(self) -> None:
        for text in ("x", "{}", "[]\n", "[" * 100_000):
            with self.subTest(text=text[:5]):
                self.stub.answers["/api/traces/7"] = text
                self.bundle(status=1)
                self.assertEqual(self.files()["traces/7.jsonl"], text)

    def test_metrics_without_a_ledger(self) -> None:
        self.stub.answers["/api/metrics"] = "# nothing\n"
        self.bundle(status=1)
        files = self.files()
        self.assertEqual(files["metrics-2.txt"], "# nothing\n")
        self.assertIn("metrics-2.txt: the metrics have no ledger", files["README.txt"])

    def test_answers_of_another_form(self) -> None:
        self.stub.answers |= {"/api/traces": [], "/api/vehicles": {"vehicles": [1, {}]}, "/health": "[" * 100_000}
        self.bundle(status=1)
        self.assertIn("traces.json: the list of traces is of a form", self.files()["README.txt"])

    def test_no_gateway(self) -> None:
        status, out, error = run("bundle", "--url", "http://127.0.0.1:1", "--output", self.file, "--json")
        self.assertEqual((status, error), (1, ""))
        shown = json.loads(out)
        self.assertEqual([each["name"] for each in shown["files"]], ["README.txt", "versions.txt"])
        self.assertEqual(len(shown["missing"]), 10)
        self.assertIn("Connection refused", self.files()["README.txt"])

    def test_a_configuration_that_is_refused(self) -> None:
        config = write_config(self.folder, log_level="loud")
        status, out, error = run("bundle", "--config", config, "--output", self.file)
        self.assertEqual((status, error), (1, ""), out)
        files = self.files()
        self.assertRegex(files["README.txt"], r"gateway: \S+config.json: log_level")
        self.assertFalse(json.loads(files["doctor.json"])["works"])

    def test_a_doctor_that_says_nothing_or_does_not_end(self) -> None:
        config = write_config(self.folder, status_port=1)
        from subprocess import TimeoutExpired

        for outcome, said in (
            (
                {"return_value": mock.Mock(stdout=b"", stderr=b"Traceback\nValueError: x\n", returncode=2)},
                "status 2: ValueError: x",
            ),
            ({"side_effect": TimeoutExpired([], 180)}, "the doctor has not ended after 180 s"),
        ):
            with self.subTest(said=said), mock.patch("fleetgw.cli.bundle_parts.subprocess.run", **outcome):
                run("bundle", "--config", config, "--output", self.file)
                self.assertIn(said, self.files()["README.txt"])


class FileTests(BundleCase):
    def test_it_is_private(self) -> None:
        before = os.umask(0)
        try:
            self.bundle(status=1)
        finally:
            os.umask(before)
        self.assertEqual(stat.S_IMODE(self.file.stat().st_mode), 0o600)
        with ZipFile(self.file) as archive:
            self.assertEqual({info.external_attr >> 16 for info in archive.infolist()}, {0o100600})

    def test_it_is_written_at_once(self) -> None:
        self.file.write_text("as it was")
        with mock.patch("fleetgw.cli.bundle_file.os.fsync", side_effect=OSError(28, "No space left on device")):
            status, out, error = run("bundle", "--url", self.stub.url, "--output", self.file)
        self.assertEqual((status, out), (2, ""))
        self.assertEqual(error, f"fleetgw bundle: {self.file} cannot be written: No space left on device\n")
        self.assertEqual([each.name for each in self.folder.iterdir()], ["bundle.zip"])
        self.assertEqual(self.file.read_text(), "as it was")

    def test_its_name(self) -> None:
        before = Path.cwd()
        os.chdir(self.folder)
        try:
            status, out, _ = run("bundle", "--url", self.stub.url)
        finally:
            os.chdir(before)
        self.assertEqual(status, 1)
        self.assertRegex(out, r"^fleetgw-bundle-\d{8}-\d{6}\.zip  ")

    def test_a_folder_that_is_not_there(self) -> None:
        status, _, error = run("bundle", "--url", self.stub.url, "--output", self.folder / "none" / "b.zip")
        self.assertEqual(status, 2)
        self.assertIn("cannot be written: No such file or directory", error)
