"""The files of a spool's records: how they are named, and what is known of each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from attrs import define, field

from fleetgw.adapters.spool.database import WAL

if TYPE_CHECKING:
    import apsw

    from fleetgw.adapters.spool.folder import Folder

SUFFIX = ".spool"
_NAME = re.compile(r"(\d{20})-(\d{14})\.spool")


@define(eq=False)
class RecordFile:
    """One file of records.

    :ivar first_position: of its first record.
    :ivar created_ms: when it was made, epoch milliseconds.
    :ivar sealed_ms: when it was sealed, or later; its records are older.
    :ivar end: the position behind its last record; positions before it may be missing at the end unless ``is_complete``.
    :ivar connection: open to write while the file is the active one, to read while it is sealed; None while it is closed.
    :ivar size_bytes: with its write-ahead log, as last looked at.
    :ivar failed: a write or a sync of it has failed: it is not written again, and its log stays as it is.
    :ivar read_failures: number of reads in a row that the disk has failed.
    :ivar is_damaged: something in it was found damaged; it has been kept aside.
    :ivar is_log_cut: damage in its log hides the commits behind it.
    """

    first_position: int
    created_ms: int
    end: int
    sealed_ms: int = 0
    is_complete: bool = False
    connection: apsw.Connection | None = None
    size_bytes: int = 0
    failed: bool = False
    read_failures: int = 0
    is_damaged: bool = False
    is_log_cut: bool = False
    name: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.name = f"{self.first_position:020d}-{self.created_ms:014d}{SUFFIX}"

    def measure(self, folder: Folder) -> bool:
        """Look at the file's size; returns whether both the file and its log are there.

        :raises OSError: that is not possible.
        """
        sizes = (folder.size_bytes(self.name), folder.size_bytes(self.name + WAL))
        self.size_bytes = sum(sizes)
        return all(sizes)


def parse_name(name: str) -> RecordFile | None:
    """The file of a name, with nothing in it as far as is known; None for a name of another kind."""
    match = _NAME.fullmatch(name)
    return RecordFile(int(match[1]), int(match[2]), end=int(match[1])) if match else None
