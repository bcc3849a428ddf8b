"""Room waiters: callers to whom a sink's queue has refused records, in the order in which they are tried again."""

from collections import OrderedDict
from collections.abc import Callable
from itertools import count


class RoomWaiters:
    """Callbacks that wait for room, first come first served among those for whose record type there is room.

    Each is called once; one that still finds no room waits anew, behind the others. Callbacks are told apart by equality.
    """

    def __init__(self) -> None:
        self._numbers = count()
        self._waiting: dict[str, OrderedDict[Callable[[], None], int]] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, record_type: str, callback: Callable[[], None]) -> None:
        """Add a caller with records of a type; one that waits for them already keeps its place."""
        self._waiting.setdefault(record_type, OrderedDict()).setdefault(callback, next(self._numbers))

    def remove(self, record_type: str, callback: Callable[[], None]) -> None:
        """Remove a caller, which need not wait."""
        waiting = self._waiting.get(record_type)
        if waiting is not None and waiting.pop(callback, None) is not None and not waiting:
            del self._waiting[record_type]

    def begin_round(self) -> int:
        """Begin a round, in which each of those that wait now may be called; returns its number, for ``take``."""
        return next(self._numbers)

    def take(self, round_number: int, has_room: Callable[[str], bool]) -> Callable[[], None] | None:
        """Remove the next caller of a round.

        :param has_room: whether there is room for records of a type.
        :return: None once the others have no room, or came after the beginning of the round.
        """
        heads = [
            (number, record_type)
            for record_type, waiting in self._waiting.items()
            if (number := next(iter(waiting.values()))) < round_number and has_room(record_type)
        ]
        if not heads:
            return None
        _, record_type = min(heads)
        waiting = self._waiting[record_type]
        callback, _ = waiting.popitem(last=False)
        if not waiting:
            del self._waiting[record_type]
        return callback

    def take_all(self) -> list[Callable[[], None]]:
        """Remove all callers, by record type."""
        callers = [callback for waiting in self._waiting.values() for callback in waiting]
        self._waiting.clear()
        return callers
