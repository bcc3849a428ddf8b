"""The connections to a service: the one in use, and replaced ones with requests in flight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fleetgw.domain.errors import DeliveryError
    from fleetgw.domain.ports import Outcome
    from fleetgw.domain.records import Record


class Publisher(Protocol):
    """A connection to a service. No method raises."""

    def publish(self, destination: str, records: Sequence[Record], done: Callable[[Sequence[Outcome]], None]) -> None:
        """Publish records in one request, in order; does not block.

        :param done: to be called once, on any thread, with one outcome per record.
        """

    def fault(self, destination: str) -> DeliveryError | None:
        """Probe a destination; None where it is in order, or where the credentials do not allow a probe. May block."""

    def close(self) -> None:
        """Close the connection; requests in flight are abandoned."""


class Publishers:
    """Closes each publisher once: a replaced one when its last request is answered, all others when the sink closes.

    :ivar current: the one for new requests; None before the first.
    """

    def __init__(self) -> None:
        self.current: Publisher | None = None
        self._in_flight: dict[Publisher, int] = {}
        self._closed = False

    def use(self, publisher: Publisher) -> None:
        """Use a publisher for new requests, in place of the current one; after ``close`` it is closed at once."""
        if self._closed:
            publisher.close()
        else:
            replaced, self.current = self.current, publisher
            self._in_flight[publisher] = 0
            if replaced is not None:
                self._close_unused(replaced)

    def sent(self, publisher: Publisher) -> None:
        """A request is in flight."""
        self._in_flight[publisher] += 1

    def answered(self, publisher: Publisher) -> None:
        """A request was answered."""
        if not self._closed:
            self._in_flight[publisher] -= 1
            self._close_unused(publisher)

    def close(self) -> None:
        """Close all of them, with or without requests in flight."""
        self._closed = True
        self.current = None
        for publisher in self._in_flight:
            publisher.close()
        self._in_flight.clear()

    def _close_unused(self, publisher: Publisher) -> None:
        if publisher is not self.current and not self._in_flight[publisher]:
            del self._in_flight[publisher]
            publisher.close()
