"""A thread for a client library that blocks: jobs run one after the other, outside the reactor's thread."""

from __future__ import annotations

from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Worker(Protocol):
    """Runs jobs in the order given."""

    def do(self, job: Callable[[], None]) -> None:
        """Run ``job`` after the earlier ones. It must not raise; it hands results back by ``reactor.callFromThread``."""

    def quit(self) -> None:
        """End after the jobs given so far; does not wait for them."""


class SerialWorker:
    """A ``Worker`` with a daemon thread of its own: a job that hangs does not keep the process from ending.

    :param name: name of the thread, for people who look at a running process.
    """

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        Thread(target=self._run, name=name, daemon=True).start()

    def do(self, job: Callable[[], None]) -> None:
        """See ``Worker``."""
        self._jobs.put(job)

    def quit(self) -> None:
        """See ``Worker``."""
        self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
