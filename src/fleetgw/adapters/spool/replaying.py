"""Replaying: to find where in a spool a time begins, and to move cursors back to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

from fleetgw.adapters.spool.cursors_file import CursorsFile
from fleetgw.adapters.spool.damaged_files import DamagedFiles
from fleetgw.adapters.spool.folder import Folder
from fleetgw.adapters.spool.inspection import inspect, read_file
from fleetgw.adapters.spool.record_format import Damaged

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from fleetgw.adapters.spool.inspection import Inspection


@define
class MovedBack:
    """The cursor of one sink that was moved.

    :ivar position: the new cursor.
    :ivar records: number of records between it and the former one, of the sink's types.
    """

    position: int
    records: int = 0


def first_position_since(found: Inspection, since_ms: int) -> int:
    """Position of the first file that may hold records received since a time; behind the last one where there is none.

    :param since_ms: epoch milliseconds.
    """
    for file, following in zip(found.files, found.files[1:], strict=False):
        if following.created_ms >= since_ms:
            return file.first_position
    return found.files[-1].first_position if found.files else 1


def move_cursors_back(
    path: str,
    since_ms: int,
    sinks: Mapping[str, Collection[str] | None],
    progress: Callable[[str], None],
) -> dict[str, MovedBack]:
    """Move cursors back to the first record that was received since a time, as far as the spool still holds it.

    :param sinks: the record types of each sink, None for all types.
    :param progress: takes the name of each file as it is read.
    :return: the sinks whose cursors were further; the others are left as they are.
    :raises ConfigurationError: the folder is in use, or cannot be used.
    :raises NewerVersion: a file is of a later version.
    :raises apsw.Error: a file cannot be read or written.
    :raises OSError: likewise.
    """
    folder = Folder(path)
    folder.open()
    try:
        cursors_file = CursorsFile(folder, DamagedFiles(folder, 2**63))
        cursors = cursors_file.load().positions
        moved: dict[str, MovedBack] = {}
        found = inspect(path)
        start = first_position_since(found, since_ms)
        for file in found.files:
            if file.first_position < start:
                continue
            progress(file.name)
            try:
                for contents in read_file(found.folder, file):
                    for at, record in zip(contents.positions, contents.records, strict=True):
                        if record.received_at_ms < since_ms:
                            continue
                        for sink, types in sinks.items():
                            if at < cursors.get(sink, 0) and (types is None or record.record_type in types):
                                moved.setdefault(sink, MovedBack(at)).records += 1
            except Damaged:  # the gateway finds it, too
                continue
        if moved:
            cursors_file.write(cursors | {sink: each.position for sink, each in moved.items()})
            cursors_file.close()
        return moved
    finally:
        folder.close()
