"""The ``logger`` sink against the lines of the Go server, and the intended differences."""

import io
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from fleetgw.adapters.codec.datum import READERS
from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Value
from fleetgw.adapters.logs.levels import Level
from fleetgw.adapters.logs.lines import JsonLog
from fleetgw.adapters.metrics.null import NullMetrics
from fleetgw.adapters.sinks.logger.sink import LoggerSink
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.domain.errors import ConfigurationError, NotConnected
from fleetgw.domain.ports import RECEIPT, IDispatcher, NotReady, Outcome, Ready
from fleetgw.domain.records import PeerIdentity, Record, Vehicle
from tests.support.deadline import DEADLINE_S
from tests.support.record_vectors import record_of

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "examples" / "consumers" / "logger_lines.py"
VECTORS = ROOT / "tests" / "vectors"
CASES = json.loads((VECTORS / "logger.json").read_text())["cases"]
DIFFERENCES = {case["name"]: case for case in json.loads((VECTORS / "logger_differences.json").read_text())["cases"]}
OWN_MEMBERS = {"activity", "context", "level", "msg", "time"}

Lines = list[dict[str, Any]]  # whatever JSON holds


def make_sink(settings: dict[str, object], level: Level = Level.INFO) -> tuple[LoggerSink, io.BytesIO]:
    stream = io.BytesIO()
    log = JsonLog(stream, level, Clock().seconds)
    clock: Any = Clock()  # no sink thread here: the clock is all of the reactor that the sink may ask for
    return LoggerSink(SinkContext("logger", settings, "ns", ("V",), clock, NullMetrics(), log)), stream


def start(sink: LoggerSink, stream: io.BytesIO) -> None:
    """Start a sink, and remove its own line about the start."""
    sink.start()
    stream.seek(0)
    stream.truncate()


def lines_of(stream: io.BytesIO) -> Lines:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def written(case: dict[str, Any], *, verbose: bool) -> dict[str, Any]:
    """Data of the record's line, and the other events, in the form of the vectors."""
    sink, stream = make_sink({"verbose": verbose})
    start(sink, stream)
    sink.dispatch([record_of(case)])
    *others, line = lines_of(stream)
    if line["msg"] != "record_payload":
        raise AssertionError(line)
    others = [{"event": o["msg"], **{k: v for k, v in o.items() if k not in OWN_MEMBERS - {"level"}}} for o in others]
    return {"data": line["data"], "other_events": others}


def expected_of_go(case: dict[str, Any], *, verbose: bool) -> dict[str, Any] | None:
    """The same for the Go server; None when its JSON log has no such line."""
    if case["go"] != "ok" or "json_log_error" in case:
        return None
    data = case["verbose"] if verbose and "verbose" in case else case["plain"]
    return {"data": data, "other_events": case.get("other_events", [])}


class GoServerVectorTests(SynchronousTestCase):
    maxDiff = None

    def check(self, *, verbose: bool) -> None:
        form = "verbose" if verbose else "plain"
        wrong = []
        for case in CASES:
            ours, theirs = written(case, verbose=verbose), expected_of_go(case, verbose=verbose)
            listed = DIFFERENCES.get(case["name"])
            if listed is None:
                if ours != theirs:
                    wrong.append((case["name"], ours, theirs))
            elif ours == theirs:
                wrong.append((case["name"], "listed as a difference, but there is none"))
            elif ours != {"data": listed[form], "other_events": listed.get("other_events", [])}:
                wrong.append((case["name"], ours, listed[form]))
        self.assertEqual(wrong, [])

    def test_plain(self) -> None:
        self.check(verbose=False)

    def test_verbose(self) -> None:
        self.check(verbose=True)

    def test_every_listed_difference_is_a_case_and_says_why(self) -> None:
        self.assertEqual(set(DIFFERENCES) - {case["name"] for case in CASES}, set())
        self.assertEqual([name for name, case in DIFFERENCES.items() if not case["reason"]], [])


class LineTests(SynchronousTestCase):
    def test_whole_line(self) -> None:
        case = next(case for case in CASES if case["name"] == "no tire location, VIN T in 3rd place")
        sink, stream = make_sink({})
        start(sink, stream)
        sink.dispatch([record_of(case)])
        self.assertEqual(
            stream.getvalue().decode(),
            '{"activity":true,"context":"fleet-telemetry","data":{"CreatedAt":"2025-11-24T16:00:00Z","IsResend":false,'
            '"VehicleSpeed":1.5,"Vin":"ABTDEFGHJKLMNPRST"},"level":"info","metadata":{"device_client_version":"1.2.3",'
            '"receivedat":"1764000000123","timestamp":"0","txid":"tx-1","txtype":"V","version":"0","vin":"ABTDEFGHJKLMNPRST"},'
            '"msg":"record_payload","time":"1970-01-01T00:00:00.000Z","vin":"ABTDEFGHJKLMNPRST"}\n',
        )

    def test_custom_type_that_is_not_utf8(self) -> None:
        vehicle = Vehicle(PeerIdentity("vehicle_device", "VIN1"), "VIN1", "c")
        record = Record(b"\xff".decode("utf-8", "surrogateescape"), b"\xfe", vehicle, b"12345", 1, None, 0)
        sink, stream = make_sink({})
        start(sink, stream)
        self.assertEqual(self.successResultOf(sink.dispatch([record])), [RECEIPT])
        (line,) = lines_of(stream)
        self.assertEqual(line["data"], {"Type": "\ufffd", "SizeBytes": 5})
        self.assertEqual(line["metadata"]["txid"], "\ufffd")

    def test_signals_without_a_value_make_one_line(self) -> None:
        case = {"device_id": "VIN1", "type": "V", "payload": (b"\x0a\x00" * 500 + b"\x0a\x04\x08\x04\x12\x00" * 500).hex()}
        self.assertEqual(
            written(case, verbose=False)["other_events"],
            [
                {"event": "unknown_payload_value_data_type", "level": "info", "names": ["VehicleSpeed"], "vin": "VIN1"},
                {"event": "unknown_payload_data_type", "level": "info", "count": 500, "vin": "VIN1"},
            ],
        )

    def test_every_case_of_value_has_a_reader(self) -> None:
        cases = {field.name for field in Value.DESCRIPTOR.oneofs_by_name["value"].fields}
        self.assertEqual(cases - set(READERS), {"invalid", "tire_location_value"})


class LifeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.records = [record_of(case) for case in CASES[:3]]

    def outcomes(self, sink: LoggerSink) -> Sequence[Outcome]:
        return self.successResultOf(sink.dispatch(self.records))

    def test_provides_the_interface(self) -> None:
        verifyObject(IDispatcher, make_sink({})[0])

    def test_receipts_once_written_in_order(self) -> None:
        sink, stream = make_sink({})
        start(sink, stream)
        self.assertEqual(sink.readiness(), Ready())
        self.assertEqual(self.outcomes(sink), [RECEIPT] * 3)
        self.assertEqual([line["data"] for line in lines_of(stream)], [case["plain"] for case in CASES[:3]])

    def test_not_connected_before_start_and_after_stop(self) -> None:
        sink, stream = make_sink({})
        self.assertIsInstance(sink.readiness(), NotReady)
        self.assertEqual([type(outcome) for outcome in self.outcomes(sink)], [NotConnected] * 3)
        start(sink, stream)
        self.successResultOf(sink.stop())
        self.assertIsInstance(sink.readiness(), NotReady)
        self.assertEqual([type(outcome) for outcome in self.outcomes(sink)], [NotConnected] * 3)
        self.assertEqual(stream.getvalue(), b"")

    def test_receipts_without_any_work_when_the_level_excludes_records(self) -> None:
        sink, stream = make_sink({}, Level.WARN)
        start(sink, stream)
        # nothing looks at the record
        self.records[0] = evolve(self.records[0], vehicle=None, content=None, decode=self.fail)
        self.assertEqual(self.outcomes(sink), [RECEIPT] * 3)
        self.assertEqual(stream.getvalue(), b"")

    def test_verbose_that_is_not_a_bool_is_named(self) -> None:
        with self.assertRaises(ConfigurationError) as caught:
            make_sink({"verbose": "yes"})
        self.assertEqual(str(caught.exception), 'logger.verbose: is "yes" (text); must be true or false')


class ExampleTests(SynchronousTestCase):
    def test_the_example_shows_records(self) -> None:
        """It ignores other events, and lines of other programs."""
        sink, stream = make_sink({})
        start(sink, stream)
        signals = next(case for case in CASES if case["name"] == "no tire location, VIN T in 3rd place")
        alerts = next(case for case in CASES if case["type"] == "alerts" and case["plain"])
        stream.write(b"Traceback: no line of the gateway's\n12\n")
        JsonLog(stream, Level.INFO).info("socket_connected", vin="VIN1")
        sink.dispatch([record_of(signals), record_of(alerts)])
        shown = subprocess.run(
            [sys.executable, EXAMPLE], input=stream.getvalue(), check=True, capture_output=True, timeout=DEADLINE_S
        ).stdout.decode()
        expected = ["ABTDEFGHJKLMNPRST VehicleSpeed 1.5", f"{alerts['device_id']} alerts {json.dumps(alerts['plain'])}"]
        self.assertEqual(shown.splitlines(), expected)
