"""The checks of a configuration, all at once and each within its time."""

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
    """One thing to look at.

    :ivar subject: what, for people.
    """

    subject: str
    look: IDiagnosable


@frozen
class Diagnosis:
    """What became of a check."""

    subject: str
    findings: Sequence[Finding]

    @property
    def works(self) -> bool:
        """Whether nothing was found that will not work."""
        return all(finding.verdict is not Verdict.WILL_NOT_WORK for finding in self.findings)


def examine(
    checks: Sequence[Check], clock: IReactorTime, done: Callable[[str], None], timeout_s: float = CHECK_TIMEOUT_S
) -> Deferred[list[Diagnosis]]:
    """Run checks side by side.

    :param done: told each subject as its check ends.
    :param timeout_s: after which a check is over, with what it has found so far.
    :return: fires with a diagnosis per check, in their order; never fails.
    """
    return gatherResults([Deferred.fromCoroutine(_examine(check, clock, done, timeout_s)) for check in checks])


async def _examine(check: Check, clock: IReactorTime, done: Callable[[str], None], timeout_s: float) -> Diagnosis:
    late: list[Finding] = []
    answer = check.look.diagnose()
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
