"""Every configuration of the vectors: accepted, warned of or refused, and the differences from the Go server."""

import json
import re
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import TestCase

from fleetgw.app.config import BUILT_IN_SINKS, parse_config
from fleetgw.domain.errors import ConfigurationError, Problem
from fleetgw.simulator.certificates import make_authority, make_server

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
CASES = json.loads((VECTORS / "config.json").read_text())["cases"]
DIFFERENCES = {case["name"]: case for case in json.loads((VECTORS / "config_differences.json").read_text())["cases"]}

NOW = datetime(2026, 11, 1, tzinfo=UTC)
PLACEHOLDERS = {
    "<port>": 4443,
    "<busy port>": 4444,
    "<status port>": 4445,
    "<metrics port>": 4446,
    "<zmq port>": 4447,
    "<redis port>": 6379,
    "<mqtt port>": 1883,
}


def write_files(folder: Path) -> None:
    """Make the files that cases name as ``@/x``; those called ``none.*`` are the ones that do not exist."""
    authority = make_authority(NOW, 365)
    server, other = (make_server(authority, ["localhost"], NOW, 365) for _ in range(2))
    key = "0123456789" * 4
    files = {
        "ca.crt": authority.certificate_pem(),
        "server.crt": server.certificate_pem(),
        "server.key": server.key_pem(),
        "server2.key": other.key_pem(),
        "not_pem": b"not PEM\n",
        "empty": b"",
        "zmq_key.json": json.dumps({"secret": key, "public": key}).encode(),
        "zmq_key_broken.json": b'{"secret": ',
        "zmq_key_bad.json": json.dumps({"secret": "short", "public": "short"}).encode(),
        "zmq_allowed.json": json.dumps([key]).encode(),
        "zmq_allowed_bad.json": json.dumps({"a": key}).encode(),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)


def text_of(case: dict[str, Any], folder: Path) -> str:  # a case of the vectors
    text: str = case["config_text"] if "config_text" in case else json.dumps(case["config"])
    for placeholder, number in PLACEHOLDERS.items():
        text = text.replace(f'"{placeholder}"', str(number)).replace(placeholder, str(number))
    return text.replace("@/", f"{folder}/")


class Outcome:
    def __init__(self, text: str, environ: dict[str, str], folder: Path) -> None:
        self.problems: tuple[Problem, ...] = ()
        self.warnings: tuple[Problem, ...] = ()
        try:
            loaded = parse_config(text, environ, folder, available_sinks=BUILT_IN_SINKS, now=NOW)
            self.warnings = loaded.warnings
        except ConfigurationError as error:
            self.problems = error.problems

    @property
    def verdict(self) -> str:
        return "refused" if self.problems else "accepted with a warning" if self.warnings else "accepted"

    def __str__(self) -> str:
        return f"{self.verdict}: " + "; ".join(map(str, self.problems or self.warnings))


def as_expected(case: dict[str, Any], outcome: Outcome) -> bool:  # a case of the vectors
    """Whether the gateway behaves as the Go server does, or refuses a mistake of an operator that the Go server accepts."""
    if case["go"] == "refused":
        return outcome.verdict == "refused"
    return outcome.verdict != ("accepted" if "operator_mistake" in case else "refused")


class VectorsTests(TestCase):
    maxDiff = None

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        write_files(self.folder)

    def outcome_of(self, case: dict[str, Any]) -> Outcome:  # a case of the vectors
        return Outcome(text_of(case, self.folder), case.get("env", {}), self.folder)

    def test_every_case_is_as_in_the_go_server_or_a_listed_difference(self) -> None:
        failures = []
        for case in CASES:
            outcome = self.outcome_of(case)
            difference = DIFFERENCES.get(case["name"])
            if difference is None and not as_expected(case, outcome):
                failures.append(f"{case['name']}: Go {case['go']}, ours {outcome}")
            elif difference is not None and as_expected(case, outcome):
                failures.append(f"{case['name']}: is listed as a difference, but is none")
            elif difference is not None and difference["ours"] != outcome.verdict:
                failures.append(f"{case['name']}: is listed as {difference['ours']}, ours {outcome}")
        self.assertEqual(failures, [])

    def test_every_difference_is_a_case_and_has_a_reason(self) -> None:
        self.assertEqual(DIFFERENCES.keys() - {case["name"] for case in CASES}, set())
        self.assertEqual([name for name, case in DIFFERENCES.items() if len(case["reason"]) < 20], [])

    def test_a_value_of_the_wrong_type_is_named(self) -> None:
        failures = []
        named = 0
        for case in CASES:
            field = re.search(r"Go struct field \w+\.([\w.]+) of type", case.get("error", ""))
            if field is None:
                continue
            named += 1
            outcome = self.outcome_of(case)
            path = field[1].lower()
            if not any(problem.path.lower().startswith(path) for problem in outcome.problems):
                failures.append(f"{case['name']}: {path} is not named by {outcome}")
        self.assertEqual(failures, [])
        self.assertGreater(named, 50)
