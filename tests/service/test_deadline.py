"""Waiting with an end."""

from unittest import TestCase

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock

from fleetgw.app.service.deadline import with_deadline


class Stubborn(Deferred[str]):
    """Ignores being cancelled."""

    def cancel(self) -> None:
        pass


class DeadlineTests(TestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(100)

    def test_a_result_before_the_deadline(self) -> None:
        awaited: Deferred[str] = Deferred()
        over = with_deadline(105, awaited, self.clock)
        self.clock.advance(4.9)
        self.assertFalse(over.called)
        awaited.callback("done")
        self.assertEqual(over.result, "done")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_result_that_is_there_counts_even_after_the_deadline(self) -> None:
        self.assertEqual(with_deadline(99, succeed("done"), self.clock).result, "done")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_failure_is_passed_on(self) -> None:
        caught: list[type[BaseException]] = []
        over = with_deadline(105, fail(ValueError("no")), self.clock)
        over.addErrback(lambda failure: caught.append(failure.type))
        self.assertEqual(caught, [ValueError])

    def test_a_late_deferred_is_cancelled(self) -> None:
        cancelled: list[object] = []
        awaited: Deferred[str] = Deferred(cancelled.append)
        over = with_deadline(105, awaited, self.clock)
        self.clock.advance(5)
        self.assertIsNone(over.result)
        self.assertEqual(cancelled, [awaited])

    def test_a_deferred_that_ignores_its_cancellation_is_awaited_no_longer(self) -> None:
        awaited = Stubborn()
        over = with_deadline(105, awaited, self.clock)
        self.clock.advance(5)
        self.assertIsNone(over.result)
        awaited.callback("much too late")

    def test_its_late_failure_is_not_logged(self) -> None:
        awaited = Stubborn()
        with_deadline(105, awaited, self.clock)
        self.clock.advance(5)
        awaited.errback(CancelledError())
        self.assertIsNone(awaited.result)
