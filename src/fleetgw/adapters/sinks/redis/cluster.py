"""Reads the map of a cluster, and finds channels with subscribers at any of its nodes. Everything here blocks."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, NamedTuple, Protocol

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import RedisError

from fleetgw.adapters.sinks.redis.connectors import NodeConnector
from fleetgw.adapters.sinks.redis.server_connection import release
from fleetgw.adapters.sinks.redis.settings import Address
from fleetgw.domain.errors import NotConnected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetgw.adapters.sinks.redis.credentials import Access
    from fleetgw.adapters.sinks.redis.server_connection import ServerConnection

AVOIDED_S = 2.0
"""Time for which a node that did not answer is not asked again: one that hangs must not delay the others' replies."""


class ClusterMap(NamedTuple):
    """The nodes of a cluster.

    :ivar masters: by slot; None where no node serves the slot.
    :ivar nodes: masters and replicas; subscribers may be connected to any of them.
    """

    masters: tuple[Address | None, ...]
    nodes: tuple[Address, ...]

    def master(self, key: bytes) -> Address | None:
        """The node that stores a key; None where no node serves its slot."""
        return self.masters[key_slot(key)]


class ClusterView(Protocol):
    """Commands to a cluster as a whole; its methods block."""

    def read_map(self) -> ClusterMap:
        """Read the map.

        :raises NotConnected: no node has it; has the reason.
        """
        ...

    def subscribed(self, channels: Sequence[bytes]) -> frozenset[bytes]:
        """The channels that a client has subscribed to by name, at any node that can be reached."""
        ...

    def close(self) -> None:
        """Close the connections."""


class RedisClusterView:
    """Asks the nodes over connections of its own."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._nodes = self._seeds = access.current().addresses
        self._connections: dict[Address, ServerConnection] = {}
        self._avoided: dict[Address, tuple[float, str]] = {}

    def read_map(self) -> ClusterMap:
        """Ask the known nodes, then those of the configuration, until one replies with a map."""
        reasons = []
        addresses = dict.fromkeys((*self._nodes, *self._seeds))
        if addresses.keys() <= self._avoided.keys():
            self._avoided.clear()  # no other node is left to be asked
        for address in addresses:
            try:
                reply = self._connection(address).ask("CLUSTER", "SLOTS")
            except NotConnected as error:
                reasons.append(self._avoid(address, error))
                continue
            found = read_slots(reply, address)
            if found.nodes:
                self._nodes = found.nodes
                self._forget_others()
                return found
            reasons.append(f"{address}: no slot of the cluster is served")
        raise NotConnected("; ".join(reasons))

    def subscribed(self, channels: Sequence[bytes]) -> frozenset[bytes]:
        """Ask all nodes at once. A node that cannot be asked counts as one without subscribers."""
        asked = []
        for address in self._nodes:
            try:
                connection = self._connection(address)
                connection.send_command("PUBSUB", "NUMSUB", *channels)
                asked.append(connection)
            except (NotConnected, RedisError, OSError) as error:
                self._avoid(address, error)
        subscribed: set[bytes] = set()
        for connection in asked:
            try:
                reply = connection.read_response(disable_decoding=True)
            except (RedisError, OSError) as error:
                release(error)
                connection.disconnect()
                self._avoid(connection.address, error)
                continue
            subscribed |= {channel for channel, count in zip(reply[::2], reply[1::2], strict=True) if count}
        return frozenset(subscribed)

    def close(self) -> None:
        """Close the connections."""
        for connection in self._connections.values():
            connection.disconnect()
        self._connections.clear()

    def _avoid(self, address: Address, error: Exception) -> str:
        if address not in self._avoided:
            self._avoided[address] = monotonic() + AVOIDED_S, str(error)
        return str(error)

    def _connection(self, address: Address) -> ServerConnection:
        if address in self._avoided:
            until, reason = self._avoided[address]
            if monotonic() < until:
                raise NotConnected(reason)
            del self._avoided[address]
        connection = self._connections.get(address)
        if connection is None or not connection.is_connected:
            connection = NodeConnector(address, self._access)()
            self._connections[address] = connection
        return connection

    def _forget_others(self) -> None:
        for address in self._connections.keys() - {*self._nodes}:
            self._connections.pop(address).disconnect()


def read_slots(reply: object, asked: Address) -> ClusterMap:
    """Read the reply to ``CLUSTER SLOTS`` (https://redis.io/commands/cluster-slots).

    :param asked: the node that replied; a node without a host in the reply is this one.
    """
    masters: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
    nodes: dict[Address, None] = {}
    for first, last, *places in reply if isinstance(reply, list) else ():
        addresses = [Address(host.decode() if host else asked.host, port) for host, port, *_ in places]
        nodes |= dict.fromkeys(addresses)
        masters[first : last + 1] = addresses[:1] * (last + 1 - first)
    return ClusterMap(tuple(masters), tuple(nodes))
