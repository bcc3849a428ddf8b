"""Bounds on connections without an identity, in total and per address."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

ConnectionT = TypeVar("ConnectionT")

CROWD_SHARE = 64
"""An address with more than this fraction (1/64) of the limit loses connections when the limit is reached."""

FREED_SHARE = 32
"""Fraction (1/32) of the limit that is freed at once: the search for crowds is too expensive for a single connection."""


@lru_cache(maxsize=1024)  # twice for each connection, which comes from where others came from
def address_group(host: str) -> str:
    """Group of addresses that one party has: a single IPv4 address, or the /64 network of an IPv6 address."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))


class Presence(Generic[ConnectionT]):
    """Connections by the group of their address, oldest first.

    :ivar limit: maximum number of connections; 0: no limit.
    :ivar limit_per_address: maximum number of connections of one group; 0: no limit.
    """

    def __init__(self, limit: int, limit_per_address: int) -> None:
        self.limit = limit
        self.limit_per_address = limit_per_address
        self._groups: dict[str, dict[ConnectionT, None]] = {}
        self._group_of: dict[ConnectionT, str] = {}

    def __iter__(self) -> Iterator[ConnectionT]:
        """Every connection, oldest first; the caller may close them."""
        return iter((*self._group_of,))

    def __len__(self) -> int:
        return len(self._group_of)

    @property
    def is_full(self) -> bool:
        """Whether the limit is reached."""
        return 0 < self.limit <= len(self._group_of)

    def is_full_for(self, host: str) -> bool:
        """Whether the limit of the address's group is reached."""
        return 0 < self.limit_per_address <= len(self._groups.get(address_group(host), ()))

    def add(self, connection: ConnectionT, host: str) -> None:
        """Add a connection."""
        group = address_group(host)
        self._group_of[connection] = group
        self._groups.setdefault(group, {})[connection] = None

    def remove(self, connection: ConnectionT) -> None:
        """Remove a connection that has closed or shown its identity; harmless when it is absent."""
        group = self._group_of.pop(connection, None)
        if group is not None:
            held = self._groups[group]
            del held[connection]
            if not held:
                del self._groups[group]

    def make_room(self) -> list[ConnectionT]:
        """Remove the oldest connections of the largest groups that exceed ``CROWD_SHARE``; the caller closes them.

        Many addresses with few connections each are a reconnect storm: they keep theirs, and new connections wait.
        """
        wanted = max(1, self.limit // FREED_SHARE)
        crowd = max(1, self.limit // CROWD_SHARE)
        removed: list[ConnectionT] = []
        for group in sorted(self._groups, key=lambda each: len(self._groups[each]), reverse=True):
            surplus = min(len(self._groups[group]) - crowd, wanted - len(removed))
            if surplus <= 0:
                break
            for connection in list(self._groups[group])[:surplus]:
                self.remove(connection)
                removed.append(connection)
        return removed
