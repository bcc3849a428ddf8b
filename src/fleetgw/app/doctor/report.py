"""Diagnoses as a table and as JSON."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from attrs import evolve
from rich import box
from rich.table import Table
from rich.text import Text

from fleetgw.adapters.secrets.masking import masked
from fleetgw.adapters.text.terminal import json_text, printable
from fleetgw.domain.ports import Verdict

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from rich.console import Console

    from fleetgw.app.doctor.checkup import Diagnosis
    from fleetgw.domain.errors import Problem

_STYLES = {Verdict.GOOD: "green", Verdict.WORTH_A_LOOK: "yellow", Verdict.WILL_NOT_WORK: "bold red"}


def print_table(diagnoses: Sequence[Diagnosis], console: Console) -> None:
    """Print one block per subject: each finding, with its remedy below."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("what", no_wrap=True, style="bold")
    table.add_column("", no_wrap=True)
    table.add_column("found, and what to do", overflow="fold")
    for diagnosis in diagnoses:
        subject = diagnosis.subject
        for finding in diagnosis.findings:
            cell = Text(printable(finding.what))
            if finding.fix:
                cell.append(f"\n-> {printable(finding.fix)}", "cyan")
            table.add_row(Text(subject), Text(finding.verdict.value, _STYLES[finding.verdict]), cell)
            subject = ""
        table.add_section()
    console.print(table)
    console.print(_summary(diagnoses))


def without_secrets(diagnoses: Sequence[Diagnosis], secrets: Collection[str]) -> list[Diagnosis]:
    """The diagnoses with all secrets masked.

    :param secrets: the secrets in the configuration; passwords in URLs are masked, too.
    """
    return [
        evolve(
            diagnosis,
            findings=[
                evolve(finding, what=masked(finding.what, secrets), fix=masked(finding.fix, secrets))
                for finding in diagnosis.findings
            ],
        )
        for diagnosis in diagnoses
    ]


def as_json(file: str, diagnoses: Sequence[Diagnosis]) -> str:
    """One object; its ``works`` agrees with the exit status."""
    report = {
        "configuration": file,
        "works": all(diagnosis.works for diagnosis in diagnoses),
        "checks": [
            {
                "subject": diagnosis.subject,
                "works": diagnosis.works,
                "findings": [
                    {"verdict": finding.verdict.value, "what": finding.what, "fix": finding.fix}
                    for finding in diagnosis.findings
                ],
            }
            for diagnosis in diagnoses
        ],
    }
    return json_text(report)


def refusal_as_json(file: str, problems: Sequence[Problem]) -> str:
    """The object for a configuration that is refused, so that no check has run."""
    refused = [{"path": each.path, "what": masked(each.what), "fix": masked(each.fix)} for each in problems]
    return json_text({"configuration": file, "works": False, "refused": refused})


def _summary(diagnoses: Sequence[Diagnosis]) -> Text:
    counts = Counter(finding.verdict for diagnosis in diagnoses for finding in diagnosis.findings)
    problems, warnings = counts[Verdict.WILL_NOT_WORK], counts[Verdict.WORTH_A_LOOK]
    also = f", {_plural(warnings, 'warning')}" if warnings else ""
    if problems:
        return Text(f"{_plural(problems, 'problem')}{also}: something will not work.", "bold red")
    return Text(f"Everything looks as it should{also}.", "yellow" if warnings else "green")


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
