"""The two threads of a spool, and the way back to the reactor."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleetgw.adapters.process.reactor import IThreadedReactor
    from fleetgw.adapters.process.serial_worker import Worker

ResultT = TypeVar("ResultT")


class Threads:
    """Runs jobs in order, in the thread of the writer or in that of the archive.

    :param idle: called whenever no job is under way any more.
    """

    def __init__(self, reactor: IThreadedReactor, make_worker: Callable[[str], Worker], idle: Callable[[], None]) -> None:
        self._reactor = reactor
        self._writer = make_worker("spool writer")
        self._archive = make_worker("spool archive")
        self._idle = idle
        self._jobs = 0

    @property
    def are_idle(self) -> bool:
        """Whether no job is under way."""
        return not self._jobs

    def write(self, job: Callable[[], ResultT]) -> Deferred[ResultT]:
        """Run a job in the writer's thread; fires with its result, or fails with its exception."""
        return self._run(self._writer, job)

    def read(self, job: Callable[[], ResultT]) -> Deferred[ResultT]:
        """Run a job in the archive's thread; fires with its result, or fails with its exception."""
        return self._run(self._archive, job)

    def quit(self) -> None:
        """End the threads after the jobs given so far."""
        self._writer.quit()
        self._archive.quit()

    def _run(self, worker: Worker, job: Callable[[], ResultT]) -> Deferred[ResultT]:
        done: Deferred[ResultT] = Deferred()
        self._jobs += 1

        def run() -> None:
            result: ResultT | Failure
            try:
                result = job()
            except Exception:
                result = Failure()
            self._reactor.callFromThread(self._ran, done, result)

        worker.do(run)
        return done

    def _ran(self, done: Deferred[ResultT], result: ResultT | Failure) -> None:
        done.callback(result)  # a failure goes to the errbacks
        self._jobs -= 1
        if not self._jobs:
            self._idle()
