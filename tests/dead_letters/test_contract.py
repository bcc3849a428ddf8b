"""Every store of dead letters keeps the contract."""

from __future__ import annotations

import errno
import os
import tempfile
from typing import TYPE_CHECKING
from unittest.mock import patch

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.dead_letters.letters import SpooledDeadLetters
from fleetgw.adapters.dead_letters.removed import Removed
from fleetgw.adapters.dead_letters.stores import DeadLetterStores
from fleetgw.adapters.spool.memory import MemorySpool
from fleetgw.adapters.spool.reading import EVERY_TYPE
from fleetgw.domain.errors import StorageError
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics
from tests.support.dead_letters_contract import NOW_MS, DeadLettersContract
from tests.support.spool_case import WALL_S, ThreadClock
from tests.support.workers import InlineWorker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetgw.domain.ports import IDeadLetters

MAX_BYTES = 1_000_000


class MemoryTests(DeadLettersContract, SynchronousTestCase):
    def setUp(self) -> None:
        self.memory = MemorySpool(Clock(), MAX_BYTES)
        self.removed: Sequence[range] = []
        super().setUp()

    def restarted(self) -> IDeadLetters:
        self.memory.stop()
        self.memory.start({"kafka": EVERY_TYPE})
        letters = SpooledDeadLetters("kafka", self.memory, lambda: None, self.save, lambda: NOW_MS)
        self.assertIsNone(self.successResultOf(Deferred.fromCoroutine(letters.begin(Removed(self.removed)))))
        return letters

    async def save(self, removed: Sequence[range]) -> None:
        self.removed = removed

    def fail_storage(self, *, fails: bool) -> None:
        self.memory.failure = StorageError("on purpose") if fails else None


class FolderTests(DeadLettersContract, SynchronousTestCase):
    """The stores in a folder of the machine."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = folder.name + "/letters"
        self.clock = ThreadClock()
        self.stores: DeadLetterStores | None = None
        super().setUp()

    def restarted(self) -> IDeadLetters:
        if self.stores is not None:
            self.successResultOf(self.stores.stop())
        self.stores = DeadLetterStores(
            self.path,
            MAX_BYTES,
            self.clock,
            ReadableMetrics(),
            ReadableLog(),
            wall_s=lambda: WALL_S,
            make_worker=InlineWorker,
        )
        letters = self.stores.of("kafka")
        self.successResultOf(self.stores.start())
        return letters

    def tearDown(self) -> None:
        if self.stores is not None:
            self.successResultOf(self.stores.stop())

    def fail_storage(self, *, fails: bool) -> None:
        if fails:
            stat = patch.object(os, "stat", side_effect=OSError(errno.EIO, "on purpose"))
            stat.start()
            self.addCleanup(patch.stopall)
        else:
            patch.stopall()
        self.clock.advance(10)
