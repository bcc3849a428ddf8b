"""Every spool keeps the contract."""

import tempfile

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.spool.folder import Folder
from fleetgw.adapters.spool.memory import MemorySpool
from fleetgw.domain.errors import StorageError
from fleetgw.domain.ports import ISpool
from tests.support.disk import Disk, DiskFolder
from tests.support.spool_case import SpoolMaker
from tests.support.spool_contract import SpoolContract


class MemoryTests(SpoolContract, SynchronousTestCase):
    def setUp(self) -> None:
        self.memory = MemorySpool(Clock(), max_bytes=1_000_000)
        super().setUp()

    def restarted(self) -> ISpool:
        return self.memory

    def fail_storage(self, *, fails: bool) -> None:
        self.memory.failure = StorageError("on purpose") if fails else None


class DiskTests(SpoolContract, SynchronousTestCase):
    """The spool on a disk in memory."""

    def setUp(self) -> None:
        self.disk = Disk()
        self.addCleanup(self.disk.close)
        self.maker = SpoolMaker(DiskFolder(self.disk))
        super().setUp()

    def restarted(self) -> ISpool:
        return self.maker.make()

    def fail_storage(self, *, fails: bool) -> None:
        self.disk.is_broken = fails
        self.maker.clock.advance(10)


class FolderTests(SpoolContract, SynchronousTestCase):
    """The spool in a folder of the machine."""

    def setUp(self) -> None:
        self.folder = FailingFolder(tempfile.mkdtemp(dir=self.mktemp_folder()))
        self.maker = SpoolMaker(self.folder)
        super().setUp()

    def mktemp_folder(self) -> str:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return folder.name

    def restarted(self) -> ISpool:
        return self.maker.make()

    def fail_storage(self, *, fails: bool) -> None:
        self.folder.fails = fails
        self.maker.clock.advance(10)


class FailingFolder(Folder):
    """A folder in which looking at files fails on request: the commit before that is not reported."""

    fails = False

    def size_bytes(self, name: str) -> int:
        if self.fails:
            raise OSError(5, "on purpose")
        return super().size_bytes(name)
