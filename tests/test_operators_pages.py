"""Run-books and questions: each alert has its run-book and each run-book its alert; each answer names a command."""

import re
from unittest import TestCase

from tests.test_documentation import ROOT, without_code

ALERTS = ROOT / "deploy/prometheus/fleetgw-alerts.yml"
PARTS = ("Meaning.", "Vehicles", "Look at", "What helps.", "It is over")


def sections(name: str, level: int) -> dict[str, str]:
    """The sections of a page by their headings."""
    page = (ROOT / "docs" / name).read_text("utf-8")
    _, *parts = re.split(rf"^{'#' * level} (.+)$", page, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


class RunBooksTests(TestCase):
    def test_each_alert_has_one_and_no_other_is_there(self) -> None:
        alerts = re.findall(r"^ +- alert: (\w+)$", ALERTS.read_text("utf-8"), re.MULTILINE)
        self.assertGreater(len(alerts), 10)
        self.assertEqual(sorted(sections("run-books.md", 2)), sorted(alerts))

    def test_each_has_every_part_in_order(self) -> None:
        for alert, text in sections("run-books.md", 2).items():
            with self.subTest(alert=alert):
                self.assertEqual(re.findall(r"^\*\*(.+?)\*\*", without_code(text), re.MULTILINE), list(PARTS))
                (commands,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
                self.assertIn("fleetgw", commands)


class QuestionsTests(TestCase):
    def test_each_answer_names_a_command(self) -> None:
        questions = sections("questions.md", 3)
        self.assertGreater(len(questions), 15)
        command = re.compile(r"\b(?:fleetgw|curl|openssl) ")
        self.assertEqual([question for question, answer in questions.items() if not command.search(answer)], [])
