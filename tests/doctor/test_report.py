"""Diagnoses as a table and as JSON, with secrets masked."""

import io
import json
from collections.abc import Sequence
from unittest import TestCase

from rich.console import Console
from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.diagnosis.findings import good, will_not_work, worth_a_look
from fleetgw.app.doctor.checkup import Diagnosis
from fleetgw.app.doctor.report import as_json, print_table, without_secrets


class WithoutSecretsTests(TestCase):
    def test_known_ones_and_those_in_urls(self) -> None:
        finding = will_not_work("cannot reach tcp://user:hunter2@host:1 as open-sesame", "not open-sesame?")
        (diagnosis,) = without_secrets([Diagnosis("sink x", [finding])], {"open-sesame"})
        self.assertEqual(
            diagnosis,
            Diagnosis("sink x", [will_not_work("cannot reach tcp://user:********@host:1 as ********", "not ********?")]),
        )


class ReportTests(SynchronousTestCase):
    diagnoses = (
        Diagnosis("certificate", (good("valid"),)),
        Diagnosis("sink redis", (worth_a_look("slow", "wait"), will_not_work("says [red]\x1b[31m", "mend it"))),
    )

    def printed(self, diagnoses: Sequence[Diagnosis], **console: object) -> str:
        out = io.StringIO()
        print_table(diagnoses, Console(file=out, width=100, **console))
        return out.getvalue()

    def test_table(self) -> None:
        lines = [" ".join(line.split()) for line in self.printed(self.diagnoses).splitlines()]
        self.assertIn("certificate ok valid", lines)
        self.assertIn("sink redis warning slow", lines)
        self.assertIn("problem says [red]\ufffd[31m", lines)
        self.assertIn("-> mend it", lines)
        self.assertEqual(lines[-1], "1 problem, 1 warning: something will not work.")
        self.assertIn("Everything looks as it should.", self.printed(self.diagnoses[:1]))

    def test_colour_on_a_terminal_only(self) -> None:
        self.assertNotIn("\x1b", self.printed(self.diagnoses))
        self.assertIn("\x1b", self.printed(self.diagnoses, force_terminal=True, color_system="standard", _environ={}))

    def test_json(self) -> None:
        report = json.loads(as_json("config.json", self.diagnoses))
        self.assertEqual(report["works"], False)
        self.assertEqual([check["works"] for check in report["checks"]], [True, False])
        self.assertEqual(report["checks"][1]["findings"][0], {"verdict": "warning", "what": "slow", "fix": "wait"})
