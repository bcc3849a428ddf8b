"""Probes in a thread: their findings, their errors, and probes that hang."""

from collections.abc import Iterator, Sequence

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.diagnosis.blocking import BlockingProbe
from fleetgw.adapters.diagnosis.findings import good, will_not_work
from fleetgw.domain.errors import ConfigurationError, Problem
from fleetgw.domain.ports import Finding
from fleetgw.testing.sink_doubles import ThreadlessReactor
from tests.support.doctor_case import BAD, AtOnce


class Never(AtOnce):
    """A worker whose jobs hang."""

    def do(self, job) -> None:
        pass


class BlockingProbeTests(SynchronousTestCase):
    def diagnosis(self, look) -> Sequence[Finding]:
        reactor = ThreadlessReactor()
        answer = BlockingProbe(look, reactor, AtOnce).diagnose()
        self.assertNoResult(answer)
        reactor.advance(0)
        return self.successResultOf(answer)

    def test_findings_come_in_order(self) -> None:
        self.assertEqual(self.diagnosis(lambda: iter([good("a"), good("b")])), (good("a"), good("b")))

    def test_an_exception_is_a_finding(self) -> None:
        def look() -> Iterator[Finding]:
            yield good("so far")
            raise RuntimeError("the library is broken")

        first, last = self.diagnosis(look)
        self.assertEqual(first, good("so far"))
        self.assertEqual(last.verdict, BAD)
        self.assertIn("RuntimeError: the library is broken", last.what)

    def test_refused_settings_are_findings(self) -> None:
        def look() -> Iterator[Finding]:
            yield from ()
            raise ConfigurationError([Problem("redis.addrs", "is empty", "name a server")])

        self.assertEqual(self.diagnosis(look), (will_not_work("redis.addrs: is empty", "name a server"),))

    def test_a_cancelled_probe_keeps_its_findings(self) -> None:
        reactor = ThreadlessReactor()
        answer = Deferred()

        def look() -> Iterator[Finding]:
            yield good("so far")
            answer.cancel()  # while the look is under way
            yield good("too late")

        made = BlockingProbe(look, reactor, Never)
        answer = made.diagnose()
        made._run(answer)
        self.assertEqual(self.successResultOf(answer), (good("so far"),))
        reactor.advance(0)  # its end, when nobody waits any more
