"""Runs checks side by side, each with a deadline."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from attrs import frozen
from twisted.internet.defer import Deferred, gatherResults

from fleetgw.adapters.diagnosis.findings import will_not_work
from fleetgw.domain.ports import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.interfaces import IReactorTime

    from fleetgw.domain.ports import IDiagnosable

CHECK_TIMEOUT_S = 15.0


@frozen
class Check:
    """One check.

    :ivar subject: its subject, as reports name it.
    """

    subject: str
    probe: IDiagnosable


@frozen
class Diagnosis:
    """The result of a check."""

    subject: str
    findings: Sequence[Finding]

    @property
    def works(self) -> bool:
        """Whether there is no finding of the kind ``WILL_NOT_WORK``."""
        return all(finding.verdict is not Verdict.WILL_NOT_WORK for finding in self.findings)


def examine(
    checks: Sequence[Check], clock: IReactorTime, done: Callable[[str], None], timeout_s: float = CHECK_TIMEOUT_S
) -> Deferred[list[Diagnosis]]:
    """Run checks side by side.

    :param done: called with the subject of each check when it ends.
    :param timeout_s: longest time of a check, after which its findings so far are taken.
    :return: fires with a diagnosis per check, in their order; never fails.
    """
    return gatherResults([Deferred.fromCoroutine(_examine(check, clock, done, timeout_s)) for check in checks])


async def _examine(check: Check, clock: IReactorTime, done: Callable[[str], None], timeout_s: float) -> Diagnosis:
    late: list[Finding] = []
    answer = check.probe.diagnose()
    timer = clock.callLater(timeout_s, partial(_end, answer, late, timeout_s))
    try:
        findings = [*await answer, *late]
    except Exception as error:  # the port allows none; a third party's sink may do anything
        findings = [*late, will_not_work(f"{type(error).__name__}: {error}", "see the documentation of this sink")]
    if timer.active():
        timer.cancel()
    done(check.subject)
    return Diagnosis(check.subject, tuple(findings))


def _end(answer: Deferred[Sequence[Finding]], late: list[Finding], timeout_s: float) -> None:
    what = f"no answer within {timeout_s:.0f} s"
    late.append(will_not_work(what, "see whether the server hangs, or a firewall swallows what is sent"))
    answer.cancel()
