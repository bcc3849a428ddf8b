"""Values that a sink keeps for each record type."""

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


class ByRecordType(dict[str, T]):
    """A value for each record type of a sink; made at the first look-up for types that a reload adds."""

    def __init__(self, make: Callable[[str], T], record_types: Iterable[str]) -> None:
        """:param record_types: those whose values are made at once."""
        super().__init__({record_type: make(record_type) for record_type in record_types})
        self._make = make

    def __missing__(self, record_type: str) -> T:
        value = self[record_type] = self._make(record_type)
        return value
