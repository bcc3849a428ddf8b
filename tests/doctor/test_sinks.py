"""Each routed sink is checked once: by its probe, or by a trial start."""

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from fleetgw.adapters.diagnosis.blocking import BlockingProbe
from fleetgw.adapters.diagnosis.findings import good
from fleetgw.adapters.sinks.registry import built_in_sinks
from fleetgw.app.doctor.sinks import READY_WITHIN_S, Trial, sink_checks
from fleetgw.domain.errors import ConfigurationError, Problem
from fleetgw.domain.ports import IDiagnosable, IDispatcher, NotReady, Ready
from fleetgw.testing.sink_doubles import ThreadlessReactor
from tests.support.doctor_case import BAD, ConfiguredTestCase


@implementer(IDispatcher)
class Sink:
    """A third party's sink with a scripted result."""

    name = "third"

    def __init__(self, *, starts: Deferred[None] | None = None, ready_after_looks: int | None = 0) -> None:
        self.starts = succeed(None) if starts is None else starts
        self.looks_left = ready_after_looks
        self.stopped = 0

    def start(self) -> Deferred[None]:
        return self.starts

    def dispatch(self, batch):
        raise AssertionError("the doctor publishes nothing")

    def stop(self) -> Deferred[None]:
        self.stopped += 1
        return succeed(None)

    def readiness(self):
        if self.looks_left == 0:
            return Ready()
        if self.looks_left is not None:
            self.looks_left -= 1
        return NotReady("the broker is asleep")


class TrialTests(SynchronousTestCase):
    def test_ready(self) -> None:
        sink, clock = Sink(ready_after_looks=3), ThreadlessReactor()
        answer = Trial(sink, clock).diagnose()
        clock.pump([0.1] * 4)
        self.assertEqual(self.successResultOf(answer), [good("starts, is ready, stops")])
        self.assertEqual(sink.stopped, 1)

    def test_never_ready(self) -> None:
        sink, clock = Sink(ready_after_looks=None), ThreadlessReactor()
        answer = Trial(sink, clock).diagnose()
        clock.pump([0.1] * int(READY_WITHIN_S * 10 + 2))
        (finding,) = self.successResultOf(answer)
        self.assertEqual(finding.verdict, BAD)
        self.assertIn("the broker is asleep", finding.what)
        self.assertEqual(sink.stopped, 1)

    def test_does_not_start(self) -> None:
        errors = (
            (ConfigurationError([Problem("x.y", "is wrong", "mend it")]), "x.y: is wrong"),
            (OSError("oops"), "OSError: oops"),
        )
        for error, said in errors:
            with self.subTest(said):
                sink = Sink(starts=fail(error))
                (finding,) = self.successResultOf(Trial(sink, ThreadlessReactor()).diagnose())
                self.assertEqual(finding.verdict, BAD)
                self.assertIn(said, finding.what)
                self.assertEqual(sink.stopped, 0)

    def test_given_up(self) -> None:
        for sink in (Sink(starts=Deferred()), Sink(ready_after_looks=None)):
            clock = ThreadlessReactor()
            answer = Trial(sink, clock).diagnose()
            answer.cancel()
            self.assertEqual(self.successResultOf(answer), [])
            self.assertEqual(clock.getDelayedCalls(), [])
        self.assertEqual(sink.stopped, 1)


class SinkChecksTests(ConfiguredTestCase):
    def checks(self, **other: object) -> dict[str, IDiagnosable]:
        reactor = MemoryReactorClock()  # makes connections, if anybody asked for them
        checks = {check.subject: check.probe for check in sink_checks(self.loaded(**other).config, reactor)}
        self.assertEqual(reactor.tcpClients, [])
        return checks

    def test_every_routed_sink_once(self) -> None:
        checks = self.checks(records={"V": ["logger", "memory"], "alerts": ["memory", "sqlite"]})
        self.assertEqual(list(checks), ["sink logger", "sink memory", "sink sqlite"])
        self.assertIsInstance(checks["sink memory"], Trial)
        self.assertIsInstance(checks["sink sqlite"], BlockingProbe)

    def test_every_sink_with_a_destination_has_a_probe(self) -> None:
        without = {name for name, sink in built_in_sinks().items() if sink.make_probe is None}
        self.assertEqual(without, {"embedded", "logger", "memory"})

    def test_probes_can_be_made(self) -> None:
        sections = {
            "kafka": {"bootstrap.servers": "127.0.0.1:1"},
            "mqtt": {"broker": "127.0.0.1:1", "topic_base": "t"},
            "redis": {"addrs": ["127.0.0.1:1"], "publish_vin_topics": True},
            "zmq": {"addr": "tcp://127.0.0.1:5284"},
        }
        for name in ("kafka", "mqtt", "redis", "zmq"):
            checks = self.checks(records={"V": [name]}, **{name: sections[name]})
            self.assertIsInstance(checks[f"sink {name}"], BlockingProbe, name)

    def test_third_party_that_cannot_be_imported(self) -> None:
        """It is refused with the configuration, before anything is looked at."""
        with self.assertRaises(ConfigurationError) as caught:
            self.loaded(records={"V": ["mine"]}, dispatchers={"mine": {"class": "no_such_module:SINK"}})
        (problem,) = caught.exception.problems
        self.assertIn("dispatchers.mine.class: no_such_module:SINK cannot be imported", str(problem))
