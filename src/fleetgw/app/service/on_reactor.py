"""Work of a command on the reactor, which runs as long as the work takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    from fleetgw.app.service.composition import IGatewayReactor

ResultT = TypeVar("ResultT")


def run_on_reactor(work: Callable[[IGatewayReactor], Coroutine[Deferred[Any], Any, ResultT]]) -> ResultT:
    """Run the reactor until the work has ended, so it can be called once in a process; raises as the work does.

    :param work: called once the reactor runs; cancelled by SIGINT and SIGTERM. ``Any``: it may await Deferreds of any kind.
    :raises KeyboardInterrupt: the work was cancelled, and has ended then, in whichever way.
    """
    from twisted.internet import reactor as installed
    from twisted.internet.defer import Deferred

    from fleetgw.adapters.process.reactor import leave_busy_threads_behind, run_on_monotonic_time

    run_on_monotonic_time(installed)
    leave_busy_threads_behind(installed)
    reactor = cast("IGatewayReactor", installed)
    results: list[ResultT] = []
    failures: list[Failure] = []
    interrupted = False

    def begin() -> None:
        done = Deferred.fromCoroutine(work(reactor)).addCallbacks(results.append, failures.append)
        reactor.addSystemEventTrigger("before", "shutdown", interrupt, done)
        done.addCallback(lambda _: None if interrupted else reactor.stop())

    def interrupt(done: Deferred[None]) -> Deferred[None] | None:
        """Called also after the end of the work; else the reactor goes on until the Deferred has fired."""
        nonlocal interrupted
        interrupted = not done.called
        done.cancel()
        return done if interrupted else None

    reactor.callWhenRunning(begin)
    reactor.run()
    if interrupted:
        raise KeyboardInterrupt
    for failure in failures:
        failure.raiseException()
    return results[0]
