"""The allow list in a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field
from zope.interface import implementer

from fleetgw.adapters.allow_list.entries import MAX_BYTES, from_text
from fleetgw.adapters.files.reading import read_regular_file, unreadable_reason
from fleetgw.adapters.files.watched import WatchedFiles
from fleetgw.adapters.process.call_in_thread import call_in_thread
from fleetgw.domain.errors import UnusableAllowList
from fleetgw.domain.ports import IAllowListSource

if TYPE_CHECKING:
    from pathlib import Path

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorThreads

CHECK_INTERVAL_S = 1.0
"""Seconds between two looks at the file's modification time, size and inode."""


@implementer(IAllowListSource)
@define(eq=False)
class AllowListFile:
    """A text file of one VIN a line, or JSON; see ``entries.from_text``. It is read when it has changed."""

    path: Path
    reactor: IReactorThreads
    interval_s: float = CHECK_INTERVAL_S
    _watched: WatchedFiles = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._watched = WatchedFiles([self.path])
        self._watched.report_again([self.path])

    @property
    def name(self) -> str:
        """See ``IAllowListSource``."""
        return str(self.path)

    def read(self) -> Deferred[frozenset[str] | None]:
        """See ``IAllowListSource``. On a thread: the file may be large, and on a disk that hangs."""
        return call_in_thread(self.reactor, self._read)

    def _read(self) -> frozenset[str] | None:
        try:
            with self._watched.reading_changed() as changed:
                return from_text(read_regular_file(self.path, MAX_BYTES)) if changed else None
        except (OSError, ValueError) as error:
            raise UnusableAllowList(f"cannot be read: {unreadable_reason(error)}") from error
