"""Twisted's reactor on monotonic time, and its stop without waiting for threads that hang."""

import asyncio
import os
import threading
import time
from typing import Any
from unittest import TestCase, mock

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.process.reactor import call_readers_directly, leave_busy_threads_behind, run_on_monotonic_time
from fleetgw.embed.loop_reactor import hold_reactor, release_reactor

DAY_S = 86_400.0


class MonotonicTimeTests(TestCase):
    def setUp(self) -> None:
        self.reactor: Any = SelectReactor()  # its insides are looked at
        self.addCleanup(self.close)
        self.wall_s, self.monotonic_s = 1.8e9, 100.0
        self.reactor.seconds = lambda: self.wall_s
        patch = mock.patch("time.monotonic", self.monotonic)
        patch.start()
        self.addCleanup(patch.stop)
        self.called: list[str] = []

    def monotonic(self) -> float:
        return self.monotonic_s

    def close(self) -> None:
        for reader in self.reactor.removeAll() or ():
            reader.connectionLost(None)
        self.reactor.waker.connectionLost(None)

    def at(self, seconds: float) -> list[str]:
        """Calls of timers up to this monotonic time, whatever the wall clock does."""
        self.monotonic_s = 100.0 + seconds
        for step_s in (DAY_S, -DAY_S):
            self.wall_s += step_s
            self.reactor.runUntilCurrent()
        called = self.called[:]
        self.called.clear()
        return called

    def test_timers_keep_the_time_they_have_left(self) -> None:
        self.reactor.callLater(1, self.called.append, "cancelled").cancel()
        for delay_s in (5, 2, 9):
            self.reactor.callLater(delay_s, self.called.append, f"before {delay_s}")
        self.reactor.runUntilCurrent()
        self.reactor.callLater(3, self.called.append, "before 3")
        again = self.reactor.callLater(4, self.called.append, "set again")
        run_on_monotonic_time(self.reactor)
        self.reactor.callLater(1, self.called.append, "after 1")
        again.reset(6)
        self.assertEqual(self.reactor.timeout(), 1)
        self.assertEqual(self.at(0.9), [])
        self.assertEqual(self.at(1), ["after 1"])
        self.assertEqual(self.at(4), ["before 2", "before 3"])
        self.wall_s -= DAY_S
        self.assertEqual(self.reactor.timeout(), 1)
        self.assertEqual(self.at(5), ["before 5"])
        self.assertEqual(self.at(6), ["set again"])
        self.assertEqual(self.at(9), ["before 9"])
        self.assertIsNone(self.reactor.timeout())

    def test_a_second_time_changes_nothing(self) -> None:
        run_on_monotonic_time(self.reactor)
        timer = self.reactor.callLater(5, self.called.append, "once")
        run_on_monotonic_time(self.reactor)
        self.assertEqual(timer.getTime(), 105)

    def test_a_clock_of_a_test_stays_as_it_is(self) -> None:
        clock = Clock()
        run_on_monotonic_time(clock)
        self.assertEqual(clock.seconds(), 0)


class _Reader:
    """A pipe with a byte in it."""

    def __init__(self, *, broken: bool) -> None:
        self.descriptor, self._other_end = os.pipe()
        os.write(self._other_end, b"x")
        self._broken = broken
        self.reads = self.log_contexts = 0

    def fileno(self) -> int:
        return self.descriptor

    def logPrefix(self) -> str:
        self.log_contexts += 1
        return "reader"

    def doRead(self) -> None:
        self.reads += 1
        if self._broken:
            raise OSError("broken")

    def connectionLost(self, reason: object) -> None:
        raise ValueError(f"broken again: {reason}")

    def close(self) -> None:
        os.close(self.descriptor)
        os.close(self._other_end)


class DirectCallTests(SynchronousTestCase):
    def test_readers_are_called_without_a_log_context_and_an_error_affects_one_only(self) -> None:
        reactor: Any = EPollReactor()  # its insides are looked at
        self.addCleanup(reactor.waker.connectionLost, None)
        readers = [_Reader(broken=True), _Reader(broken=False), _Reader(broken=True)]
        call_readers_directly(reactor)
        for reader in readers:
            self.addCleanup(reader.close)
            reactor.addReader(reader)
        reactor.doIteration(0)
        reactor.doIteration(0)
        self.assertEqual([(reader.reads, reader.log_contexts) for reader in readers], [(1, 0), (2, 0), (1, 0)])
        self.assertEqual(len(self.flushLoggedErrors(OSError, ValueError)), 4)
        reactor.removeAll()

    def test_other_reactors_stay_as_they_are(self) -> None:
        clock = Clock()
        call_readers_directly(clock)
        self.assertFalse(hasattr(clock, "doIteration"))


class EmbeddedTests(TestCase):
    def test_a_reactor_on_the_loop_of_a_program(self) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            self.assertIs(hold_reactor(loop).seconds, time.monotonic)
            release_reactor(loop)

        asyncio.run(main())


class ThreadTests(TestCase):
    def test_the_end_of_the_reactor_does_not_wait_for_a_thread_that_hangs(self) -> None:
        """The test hangs if it does."""
        answered, busy = threading.Event(), threading.Event()
        self.addCleanup(answered.set)

        def look_up() -> None:
            busy.set()
            answered.wait()

        reactor: Any = SelectReactor()  # run here though its interface does not say that it can be
        leave_busy_threads_behind(reactor)

        def begin() -> None:
            reactor.callInThread(look_up)
            reactor.callInThread(lambda: busy.wait() and reactor.callFromThread(reactor.stop))

        reactor.callWhenRunning(begin)
        reactor.run(installSignalHandlers=False)
        self.assertFalse(answered.is_set())

    def test_threads_of_an_embedding_loop_that_hang(self) -> None:
        answered = threading.Event()
        self.addCleanup(answered.set)

        async def main() -> None:
            loop = asyncio.get_running_loop()
            reactor = hold_reactor(loop)
            busy = asyncio.Event()
            reactor.callInThread(lambda: (loop.call_soon_threadsafe(busy.set), answered.wait()))
            await busy.wait()
            release_reactor(loop)

        asyncio.run(main())
        self.assertFalse(answered.is_set())
