"""The Go server's transcripts, run against the whole gateway in memory: HTTP, frames, ends of connections, log events."""

import json
import re
import tempfile
from functools import cache
from pathlib import Path
from typing import Any
from unittest import TestCase

from fleetgw.domain.errors import ConfigurationError
from tests.support.transcripts import Certificates, Player

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
VECTOR = json.loads((VECTORS / "stream.json").read_text())
CASES = VECTOR["cases"]
DIFFERENCES = json.loads((VECTORS / "stream_differences.json").read_text())
VIN = VECTOR["vin"]

Json = Any  # whatever the vectors hold


def normal(case: Json) -> Json:
    """Expectation of the vectors, in the form of ``Player.play``."""
    case = json.loads(json.dumps(case))
    for step in case["steps"]:
        for key in ("recv_frames", "recv_on_first", "recv_on_second"):
            if key in step:
                step[key] = [frame["frame"] for frame in step[key]]
    return {"steps": case["steps"], "end": case["end"], "log": case.get("log", [])}


# -- rules: differences of many cases, each with its reason in stream_differences.json


def doubled_acks(case: Json) -> None:
    if not any(line.get("msg") == "unknown_message_type_error" for line in case["log"]):
        return
    for step in case["steps"]:
        if "recv_frames" in step:
            step["recv_frames"] = list(dict.fromkeys(step["recv_frames"]))


def close_reasons(case: Json) -> None:
    for step in case["steps"]:
        step.update({key: [close_code_only(frame) for frame in step[key]] for key in step if key.startswith("recv_frames")})


def close_code_only(frame: str) -> str:
    return f"88..{frame[4:8]}" if frame.startswith("88") and len(frame) > 8 else frame


def logged_custom_types(case: Json) -> None:
    for line in case["log"]:
        if line.get("msg") == "record_logging_error":
            line.clear()
            line.update(msg="record_payload", vin=VIN)


def handshake_errors(case: Json) -> None:
    for line in case["log"]:
        if "TLS handshake error" in line.get("msg", ""):
            line.clear()
            line.update(msg="tls_handshake_error")


def error_texts(case: Json) -> None:
    for line in case["log"]:
        if "error" in line:
            line["error"] = "<text>"
        if line.get("msg") == "unexpected_sender_id":
            del line["error"]


def message_kinds(case: Json) -> None:
    for line in case["log"]:
        if line.get("msg") == "unknown_message_type_error":
            line["msg_type"] = str(ord(line["msg_type"]))
            del line["record_type"], line["txid"]


def byte_totals(case: Json) -> None:
    made = any("send_frame_made" in step for step in case["steps"])
    for line in case["log"]:
        if line.get("msg") == "socket_disconnected":
            line.pop("", None)
            if made and "custom" in line:
                line |= {"custom": "<n>", "total": "<n>"}


RULES = {
    rule.__name__: rule
    for rule in (
        doubled_acks,
        close_reasons,
        logged_custom_types,
        handshake_errors,
        error_texts,
        message_kinds,
        byte_totals,
    )
}


OURS_ALONE = {
    "configuration_not_reloaded",
    "configuration_reloaded",
    "reading_paused",
    "restart_needed",
    "sink_draining",
    "sink_not_ready",
    "sink_ready",
    "sink_stopped",
    "unrouted_records",
}
"""Events without a counterpart in the Go server; tests/sinks/support and tests/pipeline test them."""


def differs(expected: Json, ours: Json) -> dict[str, str]:
    """Differences from the expectation, by place (``steps.2``, ``end``, ``log``)."""
    found = {
        f"steps.{number}": f"\n  expected {wanted}\n  ours     {had}"
        for number, (wanted, had) in enumerate(zip(expected["steps"], ours["steps"], strict=True))
        if not fits(wanted, had)
    }
    if expected["end"] != ours["end"]:
        found["end"] = f"expected {expected['end']!r}, ours {ours['end']!r}"
    missing, too_many = events_apart(expected["log"], ours["log"])
    if missing or too_many:
        found["log"] = f"\n  missing  {missing}\n  too many {too_many}"
    return found


def fits(wanted: Json, had: Json) -> bool:
    """Whether a value matches; ``<...>`` matches anything, and additional members are allowed."""
    if isinstance(wanted, str) and re.fullmatch(r"<.*>", wanted):
        return had is not None
    if isinstance(wanted, dict):
        return isinstance(had, dict) and all(key in had and fits(value, had[key]) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(had, list) and len(wanted) == len(had) and all(map(fits, wanted, had))
    return bool(wanted == had)


def events_apart(wanted: list[Json], had: list[Json]) -> tuple[list[Json], list[Json]]:
    """Missing and unexpected events, in any order: the lines of records wait for their batch."""
    more = sum(line.get("more_lines", 0) for line in wanted)
    had = list(had)
    missing = []
    for line in wanted:
        core = {key: value for key, value in line.items() if key not in ("activity", "level")}
        found = next((other for other in had if fits(core, other)), None)
        if found is not None:
            had.remove(found)
        elif "more_lines" not in line:
            missing.append(core)
    return missing, had if len(had) != more or missing else []


def explained(expected: Json, entry: Json) -> Json:
    """Our own expectation, from an entry of the differences."""
    expected = json.loads(json.dumps(expected))
    for where, value in entry["ours"].items():
        if where.startswith("steps."):
            expected["steps"][int(where[6:])] = value
        elif where == "end":
            expected["end"] = value
        else:
            expected["log"] = [line for line in expected["log"] if line.get("msg") not in value["without"]] + value["with"]
    return expected


@cache
def certificates() -> Certificates:
    return Certificates()


class TranscriptTests(TestCase):
    maxDiff = None

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.used_rules: set[str] = set()

    def expected(self, case: Json) -> Json:
        expected = normal(case)
        for name, rule in RULES.items():
            before = json.dumps(expected)
            rule(expected)
            if json.dumps(expected) != before:
                self.used_rules.add(name)
        return expected

    def ours(self, case: Json) -> Json:
        ours = Player(certificates(), self.folder, case, VECTOR["servers"][case["server"]]).play()
        close_reasons(ours)
        ours["log"] = [line for line in ours["log"] if line["msg"] not in OURS_ALONE]
        return ours

    def test_every_case(self) -> None:
        problems = []
        listed = {entry["name"]: entry for entry in DIFFERENCES["cases"]}
        for case in CASES:
            if case.get("plain_tcp_to") in ("status port", "metrics port") or case["server"] in DIFFERENCES["refused"]:
                continue
            expected, ours = self.expected(case), self.ours(case)
            entry = listed.pop(case["name"], None)
            if entry is not None:
                same = entry["ours"].keys() - differs(expected, ours).keys()
                problems += [f"{case['name']}: {where} does not differ any more" for where in same]
                expected = explained(expected, entry)
            problems += [f"{case['name']}: {where} {how}" for where, how in differs(expected, ours).items()]
        problems += [f"{name}: no such case" for name in listed]
        self.assertEqual(set(DIFFERENCES["rules"]), self.used_rules)
        self.assertEqual(problems, [], f"{len(problems)} problems:\n" + "\n".join(problems))

    def test_refused_configurations(self) -> None:
        """Servers of the vectors whose configuration cannot work are not started here."""
        for label in DIFFERENCES["refused"]:
            with self.subTest(label), self.assertRaises(ConfigurationError):
                Player(certificates(), self.folder, {"server": label, "steps": []}, VECTOR["servers"][label])

    def test_every_difference_has_a_reason(self) -> None:
        reasons = [entry["reason"] for entry in DIFFERENCES["cases"]]
        reasons += [*DIFFERENCES["rules"].values(), *DIFFERENCES["refused"].values()]
        self.assertTrue(all(reasons))
