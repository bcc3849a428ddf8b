"""Streams of one event a second: made once, for all of their readers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fleetgw.domain.ports import IStreamReader


def json_line(value: object) -> bytes:
    """A value as JSON on one line, in ASCII: text of a vehicle cannot control a terminal."""
    return json.dumps(value, separators=(",", ":")).encode()


@define(eq=False)
class SecondlyStream:
    """Server-sent events, one a second; a slow reader misses some.

    :ivar make: makes the value of the next event; called only while there are readers.
    """

    make: Callable[[], Mapping[str, object]]
    _readers: list[IStreamReader] = field(factory=list, init=False)
    _latest: bytes = field(default=b"", init=False)

    @property
    def has_readers(self) -> bool:
        """Whether anybody reads."""
        return bool(self._readers)

    def subscribe(self, reader: IStreamReader) -> Callable[[], None]:
        """Send a reader an event at once, and further ones at each ``send``; the result ends this.

        Later readers get the latest event of the earlier ones: many that come at once cost one event.
        """
        if not self._readers:
            self._make_event()
        reader.write(self._latest)
        self._readers.append(reader)
        return lambda: self._readers.remove(reader)

    def send(self) -> None:
        """Send the next event to all readers."""
        if self._readers:
            self._make_event()
            for reader in self._readers:
                reader.write(self._latest)

    def _make_event(self) -> None:
        self._latest = b"data: " + json_line(self.make()) + b"\n\n"
