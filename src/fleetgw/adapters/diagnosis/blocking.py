"""Probes that block, in a thread of their own."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from zope.interface import implementer

from fleetgw.adapters.diagnosis.findings import will_not_work
from fleetgw.adapters.process.serial_worker import SerialWorker
from fleetgw.domain.errors import ConfigurationError
from fleetgw.domain.ports import Finding, IDiagnosable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from twisted.internet.interfaces import IReactorFromThreads

    from fleetgw.adapters.process.serial_worker import Worker


@implementer(IDiagnosable)
class BlockingProbe:
    """Runs a generator of findings in a thread that does not delay the end of the process.

    :param look: yields findings and may block; an exception becomes the last finding.
    :param make_worker: creates the thread from its name, for tests.
    """

    def __init__(
        self,
        look: Callable[[], Iterator[Finding]],
        reactor: IReactorFromThreads,
        make_worker: Callable[[str], Worker] = SerialWorker,
    ) -> None:
        self._look = look
        self._reactor = reactor
        self._make_worker = make_worker
        self._found: list[Finding] = []

    def diagnose(self) -> Deferred[Sequence[Finding]]:
        """See ``IDiagnosable``."""
        answer: Deferred[Sequence[Finding]] = Deferred(self._cancelled)
        worker = self._make_worker("fleetgw-diagnosis")
        worker.do(partial(self._run, answer))
        worker.quit()
        return answer

    def _cancelled(self, answer: Deferred[Sequence[Finding]]) -> None:
        answer.callback(tuple(self._found))

    def _run(self, answer: Deferred[Sequence[Finding]]) -> None:
        try:
            for finding in self._look():
                self._found.append(finding)  # the reactor's thread reads it upon cancellation
        except ConfigurationError as error:
            self._found += [will_not_work(f"{problem.path}: {problem.what}", problem.fix) for problem in error.problems]
        except Exception as error:  # client libraries raise exceptions of many kinds
            self._found.append(will_not_work(f"{type(error).__name__}: {error}", "see whether the sink's page explains it"))
        self._reactor.callFromThread(self._finish, answer)

    def _finish(self, answer: Deferred[Sequence[Finding]]) -> None:
        if not answer.called:
            answer.callback(tuple(self._found))
