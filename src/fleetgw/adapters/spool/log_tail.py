"""Finds commits that SQLite no longer sees: damage in a write-ahead log cuts off everything behind it, without an error."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

import apsw

from fleetgw.adapters.spool.database import WAL

if TYPE_CHECKING:
    from fleetgw.adapters.spool.folder import Folder

_HEADER_BYTES = 32
_FRAME = Struct(">4xI8s8x")  # size of the database after a commit, otherwise 0; salt
_FRAME_BYTES = _FRAME.size + 4096
_SALT = slice(16, 24)


def is_log_cut(folder: Folder, name: str, connection: apsw.Connection) -> bool:
    """Whether a log holds commits behind the last one that SQLite reads.

    A single one is no sign of damage: the process has ended, or the sync has failed, before it was complete.

    :param connection: open to read.
    :raises apsw.Error: the file cannot be read.
    :raises OSError: likewise.
    """
    size_bytes = folder.size_bytes(name + WAL)
    if not size_bytes:
        return False
    connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()  # so that it has looked at the log
    frames, _ = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
    offset = _HEADER_BYTES + frames * _FRAME_BYTES
    salts = {folder.read(name + WAL, _SALT.start, 8), folder.read(name + WAL, _HEADER_BYTES + 8, 8)}
    commits = 0
    while offset + _FRAME_BYTES <= size_bytes and commits < 2:
        size_after, salt = _FRAME.unpack(folder.read(name + WAL, offset, _FRAME.size))
        commits += bool(size_after) and salt in salts
        offset += _FRAME_BYTES
    return commits > 1
