"""Which of some files have changed since they were last read."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_Stamp = tuple[int, int, int] | None

_NEVER_READ = (-1, -1, -1)


class WatchedFiles:
    """Files that others replace: certificates, keys, passwords.

    A change shows in the modification time, the size or the inode, links followed. Make it *before* the files are read for
    the first time: then no change falls between the two.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        """Look at the files now; they may be missing."""
        self._seen: dict[Path, _Stamp] = {path: _stamp(path) for path in paths}

    def changed(self) -> list[Path]:
        """The files that have changed since the last call, or that have come or gone; each change is reported once."""
        changed = []
        for path, seen in self._seen.items():
            stamp = _stamp(path)
            if stamp != seen:
                self._seen[path] = stamp
                changed.append(path)
        return changed

    @contextmanager
    def reading_changed(self) -> Iterator[list[Path]]:
        """The files that have changed, to be read in the body of ``with``; reported again when that raises."""
        changed = self.changed()
        try:
            yield changed
        except BaseException:
            self.report_again(changed)
            raise

    def report_again(self, paths: Iterable[Path]) -> None:
        """Have the next ``changed`` report these files whatever they are then: they could not be used."""
        self._seen.update(dict.fromkeys(paths, _NEVER_READ))


def _stamp(path: Path) -> _Stamp:
    with suppress(OSError):
        status = path.stat()
        return status.st_mtime_ns, status.st_size, status.st_ino
    return None
