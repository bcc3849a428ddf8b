"""One thread for several users."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleetgw.adapters.process.serial_worker import Worker


class SharedWorker:
    """A worker that its users do not end: its owner does.

    :param name: of the thread.
    :param make_worker: makes the thread, for the first job.
    """

    def __init__(self, name: str, make_worker: Callable[[str], Worker]) -> None:
        self._name = name
        self._make_worker = make_worker
        self._worker: Worker | None = None

    def do(self, job: Callable[[], None]) -> None:
        """See ``Worker``."""
        if self._worker is None:
            self._worker = self._make_worker(self._name)
        self._worker.do(job)

    def quit(self) -> None:
        """Do nothing: other users go on."""

    def end(self) -> None:
        """End after the jobs given so far."""
        if self._worker is not None:
            self._worker.quit()
            self._worker = None
