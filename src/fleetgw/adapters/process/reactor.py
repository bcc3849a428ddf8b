"""Adapts Twisted's reactor to a gateway: monotonic time, direct calls of readers, a stop that waits for no busy thread."""

from __future__ import annotations

import sys
import time
from functools import partial
from threading import Thread
from typing import Any, cast

from twisted.internet.base import ReactorBase
from twisted.internet.interfaces import IReactorThreads, IReactorTime
from twisted.python import log
from twisted.python.threadpool import ThreadPool


class IThreadedReactor(IReactorTime, IReactorThreads):
    """A reactor with timers and threads."""


POOL_THREADS = 10
"""Maximum number of threads, as in Twisted's own pool."""

JOIN_TIMEOUT_S = 0.25
"""Longest wait for all threads when the pool stops; idle threads end in less than a millisecond."""


def run_on_monotonic_time(reactor: object) -> None:
    """Make a reactor's clock and timers use ``time.monotonic``, which steps of the wall clock do not affect.

    Twisted uses ``time.time``: after a step backwards no timer fires for the length of the step. Pending timers keep their
    remaining time. Reactors that are no ``ReactorBase``, such as a test's clock, stay as they are.
    """
    if not isinstance(reactor, ReactorBase) or reactor.seconds is time.monotonic:
        return
    inside: Any = reactor  # the lists of timers are private, and a method is replaced
    shift_s = time.monotonic() - inside.seconds()
    inside.seconds = time.monotonic
    # with the cancelled timers, which getDelayedCalls omits: the pending timers are a heap by time
    for timer in [*inside._pendingTimedCalls, *inside._newTimedCalls]:
        timer.time += shift_s
        timer.seconds = time.monotonic


def call_readers_directly(reactor: object) -> None:
    """Make an epoll reactor call its readers and writers without a log context around each call.

    The context names the connection in Twisted's own log lines, which our logs do not show, and takes about a microsecond of
    the twenty per record. Other reactors stay as they are.
    """
    if sys.platform != "linux":  # where there is no epoll, and the import fails
        return
    from twisted.internet.epollreactor import EPollReactor

    if not isinstance(reactor, EPollReactor):
        return
    inside: Any = reactor  # its poller is private, and a method is replaced
    poll, selectables, read_or_write = inside._poller.poll, inside._selectables, inside._doReadOrWrite

    def poll_once(timeout_s: float | None) -> None:
        for descriptor, event in poll(-1 if timeout_s is None else timeout_s, len(selectables)):
            selectable = selectables.get(descriptor)
            if selectable is not None:
                try:
                    read_or_write(selectable, descriptor, event)
                except Exception:  # the failure of one connection must not affect the others
                    log.err()

    inside.doPoll = inside.doIteration = poll_once


class UnawaitedThreadPool(ThreadPool):
    """A thread pool that does not delay the end of the process: a name look-up may hang as long as the name server does."""

    threadFactory = partial(Thread, daemon=True)  # type: ignore[assignment]  # called only; typed as the class

    def stop(self) -> None:
        """Stop the threads; do not wait for busy ones longer than ``JOIN_TIMEOUT_S``."""
        threads, self.threads = self.threads, []
        super().stop()
        until_s = time.monotonic() + JOIN_TIMEOUT_S
        for thread in threads:
            thread.join(max(0.0, until_s - time.monotonic()))


def leave_busy_threads_behind(reactor: object) -> None:
    """Make a reactor of our own stop without waiting for threads that hang. Call it before the reactor uses threads."""
    if not isinstance(reactor, ReactorBase) or cast("Any", reactor).threadpool is not None:
        return
    inside: Any = reactor  # as its private _initThreadPool does
    inside.threadpool = pool = UnawaitedThreadPool(0, POOL_THREADS, "twisted.internet.reactor")
    inside._threadpoolStartupID = inside.callWhenRunning(pool.start)
    inside.threadpoolShutdownID = inside.addSystemEventTrigger("during", "shutdown", inside._stopThreadPool)
