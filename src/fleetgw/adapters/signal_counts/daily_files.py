"""Signal counts on disk: a file a day, named such as ``2026-11-27.signals``.

A line is the number of signals, a tab and the VIN; a line without a VIN is of all other vehicles together. A file is
replaced as a whole, so that a crash leaves the file of the last minute.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from attrs import define, field

from fleetgw.adapters.text.days import day_of, day_text
from fleetgw.domain.identity import MAX_DEVICE_ID_CHARACTERS
from fleetgw.domain.signal_counts import MAX_VEHICLES, DayCount, kept_days

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fleetgw.adapters.spool.folder import Folder

_NAME = re.compile(r"(\d{4}-\d{2}-\d{2})\.signals", re.ASCII)
_LINE = re.compile(r"(\d{1,18})\t(.*)", re.ASCII)
_CHUNK_LINES = 1000


@define
class Loaded:
    """The counts of earlier runs.

    :ivar days: by day since the epoch.
    :ivar faults: by file, the reason for which it, or a part of it, does not count.
    """

    days: dict[int, DayCount] = field(factory=dict)
    faults: dict[str, str] = field(factory=dict)


class DailyFiles:
    """Reads and writes the files of one folder. Its methods block, and raise ``OSError``; call them on one thread.

    :ivar folder: has been opened.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    def load(self, today: int) -> Loaded:
        """Read the files of the days that are kept."""
        loaded, files = Loaded(), self._files()
        for day in kept_days(files, today):
            try:
                loaded.days[day], bad_lines = self._read(files[day])
            except OSError as error:
                loaded.faults[files[day]] = f"cannot be read: {error.strerror}"
            else:
                if bad_lines:
                    loaded.faults[files[day]] = f"{bad_lines} lines cannot be read, and are not counted"
        return loaded

    def write(self, days: Mapping[int, DayCount], today: int) -> None:
        """Replace the files of these days, each at once and durably, and remove those that are too old to be kept.

        Lines are written in chunks, so that other threads get their turns.
        """
        self.folder.check()
        for day, count in days.items():
            name = f"{day_text(day)}.signals"
            with open(self.folder.path_of(name + ".new"), "w", encoding="utf-8", opener=_private) as file:
                file.write(f"{count.others}\t\n")
                lines = [f"{signals}\t{vin}\n" for vin, signals in count.vehicles.items()]
                file.writelines("".join(lines[start : start + _CHUNK_LINES]) for start in range(0, len(lines), _CHUNK_LINES))
                file.flush()
                os.fsync(file.fileno())
            self.folder.rename(name + ".new", name)
        files = self._files()
        oldest_day = min(kept_days(files, today), default=0)
        for day, name in files.items():
            if day < oldest_day:
                self.folder.remove(name)
        self.folder.sync()

    def _files(self) -> dict[int, str]:
        """The names of all files, by day."""
        return {day: name for name in self.folder.names() if (day := _day(name)) is not None}

    def _read(self, name: str) -> tuple[DayCount, int]:
        count, bad_lines = DayCount(), 0
        with open(self.folder.path_of(name), encoding="utf-8", errors="replace") as file:
            while line := file.readline(MAX_DEVICE_ID_CHARACTERS + 32):
                match = _LINE.fullmatch(line.rstrip("\n"))
                if match is None or len(count.vehicles) > MAX_VEHICLES:
                    bad_lines += 1
                elif match[2]:
                    count.vehicles[match[2]] = int(match[1])
                else:
                    count.others += int(match[1])
        return count, bad_lines


def _private(path: str, flags: int) -> int:
    """Open a file that only the gateway's user may read: it names vehicles."""
    return os.open(path, flags, 0o600)


def _day(name: str) -> int | None:
    """The day of a file's name; None for the name of another file."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    try:
        return day_of(match[1])
    except ValueError:
        return None
