"""The last answer of the allow list's source on disk, so that it survives a restart."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec
from attrs import define, field, frozen

from fleetgw.adapters.allow_list.entries import MAX_ENTRY_CHARACTERS, MAX_VEHICLES, checked
from fleetgw.adapters.files.reading import read_regular_file, unreadable_reason
from fleetgw.domain.errors import UnusableAllowList

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_MAX_BYTES = MAX_VEHICLES * (MAX_ENTRY_CHARACTERS + len('"",')) + 65_536


class _Content(msgspec.Struct):
    source: str
    vins: list[str]


_decode = msgspec.json.Decoder(_Content).decode


@frozen
class Answer:
    """An answer of before the start.

    :ivar age_s: seconds since the source was last reached, at least 0.
    """

    vehicles: frozenset[str]
    age_s: float


@define(eq=False)
class KeptAnswer:
    """One file, which is replaced as a whole; its modification time is the time at which the source was last reached.

    The methods block: call them on a thread, one after the other. They raise ``UnusableAllowList``.

    :ivar path: the file; its folder is made when it is first needed.
    :ivar source: identifies the source; an answer of another source counts for nothing.
    :ivar wall_s: returns epoch seconds: the monotonic clock begins anew with the machine.
    """

    path: Path
    source: str
    wall_s: Callable[[], float]
    _written: frozenset[str] | None = field(default=None, init=False)

    def load(self) -> Answer | None:
        """Read the answer; None where there is none of this source."""
        try:
            reached_s = self.path.stat().st_mtime
            content = _decode(read_regular_file(self.path, _MAX_BYTES))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise UnusableAllowList(f"cannot be read: {unreadable_reason(error)}") from error
        if content.source != self.source:
            return None
        return Answer(checked(content.vins), max(0.0, self.wall_s() - reached_s))

    def keep(self, vehicles: frozenset[str]) -> None:
        """The source has been reached, and this is its list: write it, or renew the time of the file that has it."""
        now_s = self.wall_s()
        try:
            if vehicles is not self._written:
                self._written = None
                self._write(vehicles)
            os.utime(self.path, (now_s, now_s))
        except OSError as error:
            self._written = None
            raise UnusableAllowList(f"cannot be written: {unreadable_reason(error)}") from error
        self._written = vehicles

    def _write(self, vehicles: frozenset[str]) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = self.path.with_suffix(".new")
        # for the gateway's user alone: it names vehicles
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(msgspec.json.encode(_Content(self.source, [*vehicles])))
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path)
