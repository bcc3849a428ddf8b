"""The doctor reads the allow list once."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from fleetgw.app.doctor.allow_list import AllowListProbe, allow_list_checks
from fleetgw.domain.errors import UnusableAllowList
from fleetgw.domain.ports import IAllowListSource
from tests.support.config_case import ConfigCase
from tests.support.doctor_case import BAD, GOOD, LOOK


@implementer(IAllowListSource)
class Source:
    """A source with one answer."""

    name, interval_s = "vins.txt", 1.0

    def __init__(self, answer: Deferred[Any]) -> None:
        self.answer = answer

    def read(self) -> Deferred[Any]:
        return self.answer


class AllowListCheckTests(SynchronousTestCase):
    def examined(self, answer: Deferred[Any]) -> tuple[object, str]:
        (finding,) = self.successResultOf(AllowListProbe(Source(answer)).diagnose())
        return finding.verdict, finding.what

    def test_verdicts(self) -> None:
        self.assertEqual(self.examined(succeed(frozenset("ab"))), (GOOD, "vins.txt: 2 vehicles"))
        self.assertEqual(self.examined(succeed(frozenset()))[0], LOOK)
        verdict, what = self.examined(fail(UnusableAllowList("cannot be read: no such file")))
        self.assertEqual((verdict, what), (BAD, "vins.txt: cannot be read: no such file"))

    def test_cancelling_gives_no_finding(self) -> None:
        diagnosing = AllowListProbe(Source(Deferred())).diagnose()
        diagnosing.cancel()
        self.assertEqual(self.successResultOf(diagnosing), [])


class CheckTests(ConfigCase):
    def test_each_source_and_none(self) -> None:
        for allow, name in (
            ({"file": "vins.txt"}, str(self.folder / "vins.txt")),
            ({"url": "https://fleet.example/vins"}, "https://fleet.example/vins"),
            ({"redis": {"address": "127.0.0.1:6379", "key": "vins"}}, "redis://127.0.0.1:6379/0 vins"),
        ):
            reactor: Any = None
            (check,) = allow_list_checks(self.load(vehicles={"allow": allow}).config, reactor)
            self.assertEqual(check.probe.source.name, name)
        self.assertEqual(allow_list_checks(self.load().config, reactor), [])
