"""Bounds connections that have shown no identity, in all and per address."""

from __future__ import annotations

import ipaddress
from typing import Generic, TypeVar

ConnectionT = TypeVar("ConnectionT")

CROWD_SHARE = 64
"""An address that holds more than this fraction of the room gives some of it up when there is none left."""

FREED_SHARE = 32
"""The fraction of the room that is freed at once: looking for crowds costs more than one connection is worth."""


def address_group(host: str) -> str:
    """The addresses that one party has: an IPv4 address alone, the /64 network of an IPv6 address."""
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

    :ivar limit: of all connections; 0 for none.
    :ivar limit_per_address: of those of one group; 0 for none.
    """

    def __init__(self, limit: int, limit_per_address: int) -> None:
        self.limit = limit
        self.limit_per_address = limit_per_address
        self._groups: dict[str, dict[ConnectionT, None]] = {}
        self._group_of: dict[ConnectionT, str] = {}

    def __len__(self) -> int:
        return len(self._group_of)

    @property
    def is_full(self) -> bool:
        """Whether a further connection is one too many."""
        return 0 < self.limit <= len(self._group_of)

    def is_full_for(self, host: str) -> bool:
        """Whether a further connection from this address is one too many for its group."""
        return 0 < self.limit_per_address <= len(self._groups.get(address_group(host), ()))

    def add(self, connection: ConnectionT, host: str) -> None:
        """A connection is there."""
        group = address_group(host)
        self._group_of[connection] = group
        self._groups.setdefault(group, {})[connection] = None

    def remove(self, connection: ConnectionT) -> None:
        """A connection has gone or has shown its identity; harmless when it is not here."""
        group = self._group_of.pop(connection, None)
        if group is not None:
            held = self._groups[group]
            del held[connection]
            if not held:
                del self._groups[group]

    def make_room(self) -> list[ConnectionT]:
        """Remove the oldest connections of the groups that hold most, as far as these are crowds; to be closed.

        Many addresses with few connections each are a reconnect storm: they keep theirs, and the next ones wait.
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
