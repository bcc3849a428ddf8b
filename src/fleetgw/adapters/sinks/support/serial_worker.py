"""One thread for a client library that blocks: jobs run one after the other, off the reactor's thread."""

from __future__ import annotations

from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Worker(Protocol):
    """Runs jobs in the order given; a test's double runs them at once."""

    def do(self, job: Callable[[], None]) -> None:
        """Run ``job`` after those before it. It must not raise; results go back by ``reactor.callFromThread``."""

    def quit(self) -> None:
        """End after the jobs given so far. Does not wait."""


class SerialWorker:
    """A ``Worker`` with a thread of its own. A job that hangs does not keep the process from ending.

    :param name: of the thread, for people who look at a running process.
    """

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        Thread(target=self._run, name=name, daemon=True).start()

    def do(self, job: Callable[[], None]) -> None:
        """Run ``job`` on the thread, after those before it."""
        self._jobs.put(job)

    def quit(self) -> None:
        """End the thread after the jobs given so far."""
        self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
