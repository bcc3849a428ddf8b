"""Adapts Twisted's reactor to a gateway: a monotonic clock, direct calls, and an end that does not wait for busy threads."""

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
    """Timers, and work in threads."""


POOL_THREADS = 10
"""As many as Twisted's own pool has."""

JOINED_WITHIN_S = 0.25
"""Time for all threads to end with the pool: those that are idle need less than a millisecond."""


def run_on_monotonic_time(reactor: object) -> None:
    """Have a reactor's clock and timers follow ``time.monotonic``, which no step of the wall clock touches.

    Twisted's are those of ``time.time``: after a step backwards no timer fires for the length of the step. Timers that are
    set already keep the time they have left. Reactors that are no ``ReactorBase``, such as a test's clock, stay as they are.
    """
    if not isinstance(reactor, ReactorBase) or reactor.seconds is time.monotonic:
        return
    inside: Any = reactor  # the lists of timers are private, and a method is replaced
    shift_s = time.monotonic() - inside.seconds()
    inside.seconds = time.monotonic
    # cancelled ones, too, which getDelayedCalls leaves out: the list of pending ones is a heap by time
    for timer in [*inside._pendingTimedCalls, *inside._newTimedCalls]:
        timer.time += shift_s
        timer.seconds = time.monotonic


def call_readers_directly(reactor: object) -> None:
    """Have an epoll reactor call its readers and writers without a log context around each call.

    The context names the connection in Twisted's own log lines, which no log of ours shows, and takes about a microsecond of
    the twenty that a record takes. Other reactors stay as they are.
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
                except Exception:  # one connection's trouble is not the others'
                    log.err()

    inside.doPoll = inside.doIteration = poll_once


class UnawaitedThreadPool(ThreadPool):
    """A pool that does not hold up the end of the process: a name look-up may hang for as long as the name server does."""

    threadFactory = partial(Thread, daemon=True)  # type: ignore[assignment]  # called only; typed as the class

    def stop(self) -> None:
        """End the threads; those that are busy are left behind after a moment."""
        threads, self.threads = self.threads, []
        super().stop()
        until_s = time.monotonic() + JOINED_WITHIN_S
        for thread in threads:
            thread.join(max(0.0, until_s - time.monotonic()))


def leave_busy_threads_behind(reactor: object) -> None:
    """Have a reactor of our own not wait, when it ends, for threads that hang. To be called before it uses any."""
    if not isinstance(reactor, ReactorBase) or cast("Any", reactor).threadpool is not None:
        return
    inside: Any = reactor  # as its private _initThreadPool does
    inside.threadpool = pool = UnawaitedThreadPool(0, POOL_THREADS, "twisted.internet.reactor")
    inside._threadpoolStartupID = inside.callWhenRunning(pool.start)
    inside.threadpoolShutdownID = inside.addSystemEventTrigger("during", "shutdown", inside._stopThreadPool)
