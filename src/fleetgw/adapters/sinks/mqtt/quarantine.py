"""Ordering keys whose records are not sent for a while, so that they do not block all others. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

from fleetgw.domain.records import ordering_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleetgw.domain.records import OrderingKey, Record

FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 600.0
"""The first pause of a key, doubled at each further incident, up to the longest."""

FORGET_AFTER_S = 3_600.0
"""A key without an incident for this time begins with the first pause again."""

KEYS_LIMIT = 10_000

POISONS_ALLOWED = 3
"""Poison records of a key without a pause; each has ended several sessions."""


@define
class _Key:
    poisons: int = 0
    pauses: int = 0
    until_s: float = 0.0
    last_s: float = 0.0


class Quarantine:
    """Ordering keys (vehicle and record type) that have ended sessions repeatedly.

    :param now_s: the clock, seconds.
    """

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._keys: dict[OrderingKey, _Key] = {}

    def __bool__(self) -> bool:
        """Whether any key may be in quarantine; a cheap check."""
        return bool(self._keys)

    def left_s(self, record: Record) -> float:
        """Seconds for which records with this record's key must not be sent; 0 or less: they may be sent."""
        key = self._keys.get(ordering_key(record))
        return 0.0 if key is None else key.until_s - self._now_s()

    def stalled(self, record: Record) -> None:
        """A record was not confirmed in several sessions: its key pauses."""
        self._pause(self._key_of(record))

    def poisoned(self, record: Record) -> None:
        """A record was rejected, because the broker has ended sessions over it."""
        key = self._key_of(record)
        key.poisons += 1
        if key.poisons > POISONS_ALLOWED:
            self._pause(key)

    def passed(self, record: Record) -> None:
        """A record that had ended a session was confirmed."""
        self._keys.pop(ordering_key(record), None)

    def _key_of(self, record: Record) -> _Key:
        now_s = self._now_s()
        name = ordering_key(record)
        key = self._keys.pop(name, None)
        if key is None or now_s - key.last_s > FORGET_AFTER_S:
            key = _Key()
        key.last_s = now_s
        if len(self._keys) >= KEYS_LIMIT:
            del self._keys[next(iter(self._keys))]  # the one with the oldest last incident
        self._keys[name] = key
        return key

    def _pause(self, key: _Key) -> None:
        key.until_s = self._now_s() + min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(key.pauses, 30))
        key.pauses += 1
