"""Checks run side by side, each with a deadline."""

from collections.abc import Sequence

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from fleetgw.adapters.diagnosis.findings import good
from fleetgw.app.doctor.checkup import Check, Diagnosis, examine
from fleetgw.domain.ports import Finding, IDiagnosable
from fleetgw.testing.sink_doubles import ThreadlessReactor
from tests.support.doctor_case import BAD, GOOD, verdicts


@implementer(IDiagnosable)
class Scripted:
    def __init__(self, answer: Deferred[Sequence[Finding]]) -> None:
        self.answer = answer

    def diagnose(self) -> Deferred[Sequence[Finding]]:
        return self.answer


class ExamineTests(SynchronousTestCase):
    def test_side_by_side_in_order(self) -> None:
        first, second, done = Deferred(), Deferred(), []
        clock = ThreadlessReactor()
        result = examine([Check("one", Scripted(first)), Check("two", Scripted(second))], clock, done.append)
        second.callback([good("b")])
        self.assertEqual(done, ["two"])
        first.callback([good("a")])
        self.assertEqual(self.successResultOf(result), [Diagnosis("one", (good("a"),)), Diagnosis("two", (good("b"),))])
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_ends_in_time(self) -> None:
        hangs = Deferred(lambda answer: answer.callback([good("so far")]))
        clock = ThreadlessReactor()
        result = examine([Check("one", Scripted(hangs))], clock, lambda _: None, timeout_s=5)
        clock.advance(4.9)
        self.assertNoResult(result)
        clock.advance(0.1)
        (diagnosis,) = self.successResultOf(result)
        self.assertEqual(verdicts(diagnosis.findings), [GOOD, BAD])
        self.assertIn("no answer within 5 s", diagnosis.findings[1].what)
        self.assertFalse(diagnosis.works)

    def test_one_that_fails_is_a_finding(self) -> None:
        checks = [Check("strange", Scripted(fail(RuntimeError("oops")))), Check("fine", Scripted(succeed([good("a")])))]
        strange, fine = self.successResultOf(examine(checks, ThreadlessReactor(), lambda _: None))
        self.assertIn("oops", strange.findings[0].what)
        self.assertTrue(fine.works)
