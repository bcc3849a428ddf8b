"""Changes in a folder that no gateway uses: as a running one makes them, on a reactor that runs as long as they take."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar, cast

from fleetgw.adapters.dead_letters.stores import DeadLetterStores
from fleetgw.adapters.logs.null import NullLog
from fleetgw.adapters.metrics.null import NullMetrics
from fleetgw.app.service.dead_letter_commands import DeadLetterCommands

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from typing import Any

    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    from fleetgw.app.service.composition import IGatewayReactor

    Work = Callable[[IGatewayReactor], Coroutine["Deferred[Any]", Any, "ResultT"]]

ResultT = TypeVar("ResultT")


def purge(path: str, request: Mapping[str, object]) -> object:
    """Purge dead letters, see ``DeadLetterCommands.purge``. Runs the reactor, so it can be called once in a process.

    :raises ConfigurationError: the folder is in use, or cannot be used.
    :raises CommandError: as ``DeadLetterCommands.purge``.
    """

    async def work(reactor: IGatewayReactor) -> object:
        stores = DeadLetterStores(path, 2**63, reactor, NullMetrics(), NullLog(), wall_s=time.time)
        try:
            await stores.start()
            return await DeadLetterCommands(stores.sinks, dict).purge(request, lambda _: None)
        finally:
            await stores.stop()

    return _run(work)


def _run(work: Work[ResultT]) -> ResultT:
    from twisted.internet import reactor as installed
    from twisted.internet.defer import Deferred

    from fleetgw.adapters.process.reactor import leave_busy_threads_behind, run_on_monotonic_time

    run_on_monotonic_time(installed)
    leave_busy_threads_behind(installed)
    reactor = cast("IGatewayReactor", installed)
    results: list[ResultT] = []
    failures: list[Failure] = []

    def begin() -> None:
        done = Deferred.fromCoroutine(work(reactor)).addCallbacks(results.append, failures.append)
        done.addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run()
    for failure in failures:
        failure.raiseException()
    return results[0]
