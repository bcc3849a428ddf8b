"""Choose the server to connect to: one of several, a node of a cluster, or a master known to sentinels. All block."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from fleetgw.adapters.sinks.redis.server_connection import Refused, ServerConnection
from fleetgw.adapters.sinks.redis.settings import Address
from fleetgw.domain.errors import NotConnected

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fleetgw.adapters.sinks.redis.credentials import Access
    from fleetgw.adapters.sinks.redis.settings import RedisSettings


class Connector(Protocol):
    """Connects to the server that records go to now. Called on a pipe's thread, again after every loss."""

    def __call__(self) -> ServerConnection:
        """Connect.

        :raises NotConnected: no such server can be reached; has the reason.
        """
        ...


class InCluster(NotConnected):
    """The server is a node of a cluster; other nodes have some of the vehicles."""


class ServerConnector:
    """Connects to the only server, or to the first of several that can be reached and is no replica.

    :param cluster_found: called on a pipe's thread when the servers turn out to be nodes of a cluster.
    """

    def __init__(self, access: Access, cluster_found: Callable[[], None] = lambda: None) -> None:
        self._access = access
        self._cluster_found = cluster_found
        self._last: Address | None = None

    def __str__(self) -> str:
        return ",".join(map(str, self._access.current().addresses))

    def __call__(self) -> ServerConnection:
        """Try the addresses in turn."""
        settings = self._access.current()
        reasons = []
        for address in _in_turn(settings.addresses, self._last):
            try:
                connection = self._connect(address, settings)
            except InCluster as error:
                self._cluster_found()
                raise NotConnected(str(error)) from None
            except NotConnected as error:
                reasons.append(_reason(error, self._access))
            else:
                self._last = address
                return connection
        raise NotConnected("; ".join(reasons))

    def _connect(self, address: Address, settings: RedisSettings) -> ServerConnection:
        try:
            connection = ServerConnection(address, settings, settings.login, db=settings.db).open()
        except NotConnected as error:
            if "SELECT is not allowed in cluster mode" in str(error):
                raise InCluster(f"{address}: is a node of a cluster, which has no database but 0") from error
            raise
        if len(settings.addresses) > 1:
            if not settings.cluster and connection.is_cluster_node():
                connection.disconnect()
                raise InCluster(f"{address}: is a node of a cluster")
            if connection.is_replica():
                connection.disconnect()
                raise NotConnected(f"{address}: is a replica")
        return connection


class NodeConnector:
    """Connects to one node of a cluster."""

    def __init__(self, address: Address, access: Access) -> None:
        self._address = address
        self._access = access

    def __str__(self) -> str:
        return str(self._address)

    def __call__(self) -> ServerConnection:
        """Connect to the node."""
        settings = self._access.current()
        try:
            return ServerConnection(self._address, settings, settings.login).open()
        except NotConnected as error:
            raise NotConnected(_reason(error, self._access)) from None


class SentinelConnector:
    """Connects to the server that the sentinels name as the master."""

    def __init__(self, access: Access, master: str) -> None:
        self._access = access
        self._master = master
        self._last: Address | None = None

    def __str__(self) -> str:
        return f"the master of {self._master}"

    def __call__(self) -> ServerConnection:
        """Ask the sentinels in turn, then connect to the master."""
        settings = self._access.current()
        try:
            address = self._discover(settings)
            connection = ServerConnection(address, settings, settings.login, db=settings.db).open()
        except NotConnected as error:
            raise NotConnected(_reason(error, self._access)) from None
        if connection.is_replica():
            connection.disconnect()
            raise NotConnected(f"{address}: the sentinels call it the master of {self._master}, but it is a replica")
        return connection

    def _discover(self, settings: RedisSettings) -> Address:
        reasons = []
        for sentinel in _in_turn(settings.addresses, self._last):
            try:
                connection = ServerConnection(sentinel, settings, settings.sentinel_login).open()
                reply = connection.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._master)
                connection.disconnect()
            except NotConnected as error:
                reasons.append(f"sentinel {_reason(error, self._access)}")
                continue
            match reply:
                case [bytes(host), bytes(port)]:
                    self._last = sentinel
                    return Address(host.decode(), int(port))
            reasons.append(f"sentinel {sentinel}: knows no master {self._master}")
        raise NotConnected("; ".join(reasons))


def _in_turn(addresses: Sequence[Address], last: Address | None) -> list[Address]:
    """The addresses, first the one that answered last: one that hangs must not delay every attempt."""
    return sorted(addresses, key=lambda address: address != last)


def _reason(error: NotConnected, access: Access) -> str:
    """The reason; after a refusal the next attempt uses the current content of the credential files."""
    if isinstance(error, Refused):
        access.refused()
    return str(error)
