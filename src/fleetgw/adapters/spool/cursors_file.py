"""The cursors of a spool, in a small file of their own.

The file is of the same form as those of records. Its only block holds all cursors as JSON, under a CRC32C. A file is
written by one process, until an error; then the next one, with a higher number, takes over. Of several, the highest
position of a sink holds: cursors never lead.

Files of records are removed only after the cursors are written. So that a full disk can get room in this way, the first file
of a process has a reserve: a file that is given up when there is no room.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from struct import Struct
from typing import TYPE_CHECKING

import apsw
from attrs import Factory, define
from crc32c import crc32c

from fleetgw.adapters.spool.database import (
    DAMAGES,
    check_head,
    checkpoint,
    close,
    create,
    leave_log,
    open_for_reading,
    open_for_writing,
    remove,
)
from fleetgw.adapters.spool.record_format import Damaged

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fleetgw.adapters.spool.damaged_files import DamagedFiles
    from fleetgw.adapters.spool.folder import Folder

RESERVE = "reserve"
RESERVE_BYTES = 64 * 1024

CURSORS_NAME = re.compile(r"cursors-(\d{8})\.spool")
_CRC = Struct("<I")


@define
class StoredCursors:
    """The cursors that were found.

    :ivar positions: by the sink's name.
    :ivar is_certain: every cursor that was ever stored is there.
    """

    positions: dict[str, int] = Factory(dict)
    is_certain: bool = False


class CursorsFile:
    """Reads the cursors once, and then writes them. All of it runs in one thread."""

    def __init__(self, folder: Folder, damaged: DamagedFiles) -> None:
        self._folder = folder
        self._damaged = damaged
        self._number = 0
        self._connection: apsw.Connection | None = None

    def load(self) -> StoredCursors:
        """Read the cursors that earlier processes have left.

        :raises NewerVersion: a file is of a later version.
        :raises apsw.Error: a file cannot be read now.
        :raises OSError: likewise.
        """
        names = self._names()
        stored = StoredCursors(is_certain=bool(names))
        for name in names:
            self._number = int(name[8:16])
            try:
                check_head(self._folder, name)
                positions = self._read(name)
            except (Damaged, *DAMAGES):
                self._damaged.move(name)
                stored.is_certain = False
                continue
            for sink, position in positions.items():
                stored.positions[sink] = max(position, stored.positions.get(sink, 0))
        return stored

    def write(self, positions: Mapping[str, int]) -> None:
        """Write all cursors, and sync them: this returns after the sync.

        :raises apsw.Error: they are not written. The next call begins a new file.
        :raises OSError: likewise.
        """
        text = json.dumps(positions).encode()
        try:
            if self._connection is not None:
                self._put(self._connection, text)
            elif self._folder.size_bytes(RESERVE):
                self._begin_with_reserve(text)
            else:
                self._begin(text)
        except (apsw.Error, OSError):
            self._give_up()
            raise

    def close(self) -> None:
        """Close the file."""
        connection, self._connection = self._connection, None
        if connection is not None:
            close(connection)

    def _names(self) -> Sequence[str]:
        return [name for name in self._folder.names() if CURSORS_NAME.fullmatch(name)]

    def _read(self, name: str) -> dict[str, int]:
        connection = open_for_reading(self._folder, name)
        try:
            row = connection.execute("SELECT body FROM block WHERE first = 0").fetchone()
        finally:
            close(connection)
        if row is None:  # its process ended before it had written any
            return {}
        (body,) = row
        if not isinstance(body, bytes) or len(body) < _CRC.size or _CRC.unpack_from(body)[0] != crc32c(body[_CRC.size :]):
            raise Damaged(f"{name} does not match its checksum")
        positions = json.loads(body[_CRC.size :])
        return {str(sink): int(position) for sink, position in positions.items()}

    def _begin_with_reserve(self, text: bytes) -> None:
        try:
            self._begin(text)
        except (apsw.Error, OSError):
            self._folder.remove(RESERVE)
            self._begin(text)

    def _begin(self, text: bytes) -> None:
        """Make the next file, and remove the earlier ones once it is durable."""
        earlier = self._names()
        self._number += 1
        name = f"cursors-{self._number:08d}.spool"
        create(self._folder, name)
        try:
            self._connection = open_for_writing(self._folder, name)
            self._put(self._connection, text)
        except (apsw.Error, OSError):
            self._give_up()
            with suppress(OSError):
                remove(self._folder, name)
            raise
        for old_name in earlier:
            remove(self._folder, old_name)
        if not self._folder.size_bytes(RESERVE):
            with suppress(OSError):
                self._folder.reserve(RESERVE, RESERVE_BYTES)

    def _put(self, connection: apsw.Connection, text: bytes) -> None:
        connection.execute("INSERT OR REPLACE INTO block VALUES(0, ?)", (_CRC.pack(crc32c(text)) + text,))
        # the log starts over each time: once it is there, cursors are written without any more room on the disk
        checkpoint(connection)

    def _give_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            leave_log(connection)
            close(connection)
