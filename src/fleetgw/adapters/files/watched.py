"""Detects changes of files since they were last read."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_Stamp = tuple[int, int, int] | None

_NEVER_READ = (-1, -1, -1)


class WatchedFiles:
    """Files that other programs replace: certificates, keys, passwords.

    A change is a new modification time, size or inode, with links followed. Create the object *before* the first reading of
    the files, so that it detects every later change.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        """Record the files' present state; they may be missing."""
        self._seen: dict[Path, _Stamp] = {path: _stamp(path) for path in paths}

    def changed(self) -> list[Path]:
        """Files that have changed, appeared or vanished since the last call; each change is reported once."""
        changed = []
        for path, seen in self._seen.items():
            stamp = _stamp(path)
            if stamp != seen:
                self._seen[path] = stamp
                changed.append(path)
        return changed

    @contextmanager
    def reading_changed(self) -> Iterator[list[Path]]:
        """Files that have changed, for the body of ``with`` to read; they are reported again when the body raises."""
        changed = self.changed()
        try:
            yield changed
        except BaseException:
            self.report_again(changed)
            raise

    def report_again(self, paths: Iterable[Path]) -> None:
        """Let the next ``changed`` report these files in any case, because they could not be used."""
        self._seen.update(dict.fromkeys(paths, _NEVER_READ))


def _stamp(path: Path) -> _Stamp:
    with suppress(OSError):
        status = path.stat()
        return status.st_mtime_ns, status.st_size, status.st_ino
    return None
