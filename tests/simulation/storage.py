"""The spool of a history: the real one, on a disk that forgets, with threads in virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import implementer

from fleetgw.adapters.process.reactor import IThreadedReactor
from fleetgw.adapters.spool.spool import Spool as SpoolOnDisk
from fleetgw.domain.ports import Appended
from fleetgw.testing.sink_doubles import ThreadlessReactor
from tests.support.disk import Disk, DiskFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from twisted.internet.interfaces import IReactorTime

    from fleetgw.adapters.spool.limits import SpoolLimits
    from fleetgw.domain.errors import StorageError
    from fleetgw.domain.ports import ILog, IMetrics
    from fleetgw.domain.records import Record
    from tests.simulation.oracle import Oracle

JOB_S, SLOW_JOB_S = 0.004, 1.0
"""The longest time that a thread takes for a job, and that it takes on a slow disk."""


@implementer(IThreadedReactor)
class SimulatedReactor(ThreadlessReactor):
    """A reactor in virtual time."""


class SimulatedWorker:
    """A thread: runs its jobs in their order, each some time later."""

    def __init__(self, clock: IReactorTime, random: Random, storage: Storage) -> None:
        self._storage = storage
        self._clock = clock
        self._random = random
        self._free_s = 0.0

    def do(self, job: Callable[[], None]) -> None:
        """See ``Worker``."""
        self._free_s = max(self._clock.seconds(), self._free_s) + self._random.random() * self._storage.job_s
        self._clock.callLater(self._free_s - self._clock.seconds(), job)

    def quit(self) -> None:
        """See ``Worker``."""


class Spool(SpoolOnDisk):
    """The spool, which tells the oracle of the records that it reports as synced."""

    oracle: Oracle

    def append(self, records: Sequence[Record]) -> Appended | StorageError:
        """See ``ISpool``."""
        appended = super().append(records)
        if isinstance(appended, Appended):
            appended.synced.addCallback(self._tell, records)
        return appended

    def _tell(self, failure: StorageError | None, records: Sequence[Record]) -> StorageError | None:
        if failure is None:
            self.oracle.synced(records)
        return failure


class Storage:
    """The disk, which outlives the processes of a history.

    :ivar job_s: the longest time of a job.
    """

    def __init__(self, limits: SpoolLimits, random: Random, oracle: Oracle) -> None:
        self._limits = limits
        self._random = random
        self.job_s = JOB_S
        self._oracle = oracle
        self._disk = Disk()

    def spool(self, reactor: SimulatedReactor, metrics: IMetrics, log: ILog, wall_s: Callable[[], float]) -> Spool:
        """Make the spool of a process."""
        spool = Spool(
            DiskFolder(self._disk),
            self._limits,
            reactor,
            metrics,
            log,
            wall_s=wall_s,
            make_worker=lambda _: SimulatedWorker(reactor, self._random, self),
        )
        spool.oracle = self._oracle
        return spool

    def fail(self) -> str:
        """Let something fail from now on; returns what it is."""
        disk, random = self._disk, self._random
        match random.randrange(4):
            case 0:
                disk.failing_syncs = random.randint(1, 3)
                return f"{disk.failing_syncs} syncs fail"
            case 1:
                disk.is_full = not disk.is_full
                return f"the disk is full: {disk.is_full}"
            case 2:
                self.job_s = SLOW_JOB_S
                return "the disk is slow"
            case _:
                disk.steps_left = random.randint(0, 40)
                return f"the disk is gone after {disk.steps_left} steps"

    def crash(self) -> str:
        """The process is killed, or the power is cut; returns which."""
        if self._random.random() < 0.5:
            self.kill()
            return "killed"
        self._disk.lose_power(self._random)
        return "power cut"

    def kill(self) -> None:
        """The process ends; the operating system forgets nothing."""
        self._disk.end_process()

    def heal(self) -> None:
        """Nothing fails any more."""
        self._disk.come_back()
        self.job_s = JOB_S

    def close(self) -> None:
        """Forget the disk."""
        self._disk.close()
