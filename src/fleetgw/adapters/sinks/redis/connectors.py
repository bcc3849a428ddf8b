"""Connections to Redis servers, made by redis-py: which server, TLS, who we are, the database. Everything here blocks."""

from __future__ import annotations

import ssl
from traceback import clear_frames
from typing import TYPE_CHECKING, Protocol

from redis.connection import Connection
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError

from fleetgw.adapters.sinks.redis.settings import Address
from fleetgw.domain.errors import NotConnected

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from fleetgw.adapters.sinks.redis.credentials import Access
    from fleetgw.adapters.sinks.redis.settings import Login, RedisSettings

REACH_TIMEOUT_S = 1.5
"""Time for TCP to connect: a host that is back is found with the next attempt, not with the system's third."""


class FindServer(Protocol):
    """Connects to the server that is in charge now. Called on a connection's own thread, again after every loss."""

    def __call__(self) -> ServerConnection:
        """:raises NotConnected: there is none; says why."""
        ...


class Refused(NotConnected):
    """The server does not accept who we are, or TLS failed: credentials may have been replaced."""


class ServerConnection(Connection):
    """redis-py's connection, with our TLS and with its socket to be had.

    :ivar address: whom it is to.
    """

    def __init__(self, address: Address, settings: RedisSettings, login: Login, *, db: int = 0) -> None:
        super().__init__(
            host=address.host,
            port=address.port,
            db=db,
            username=login.username,
            password=login.password,
            socket_connect_timeout=min(REACH_TIMEOUT_S, settings.connect_timeout_s),
            socket_timeout=settings.connect_timeout_s,
            protocol=2,
        )
        self.address = address
        self._tls = settings.tls
        self._server_name = settings.server_name or address.host

    def _connect(self) -> socket.socket:
        raw: socket.socket = super()._connect()
        if self._tls is None:
            return raw
        try:
            return self._tls.wrap_socket(raw, server_hostname=self._server_name)
        except (OSError, ValueError):  # ValueError: the name can be in no certificate
            raw.close()
            raise

    def open(self) -> ServerConnection:
        """Connect, and say who we are.

        :raises NotConnected: it cannot be done; says why.
        """
        try:
            self.connect()
            self.send_command("PING")  # a server that wants a password says so only when it is asked something
            self.read_response()
        except NoPermissionError as error:
            release(error)  # who may not ping may publish all the same
        except (RedisError, OSError, ValueError) as error:
            raise self._unusable(error) from error
        return self

    def ask(self, *command: str | bytes) -> object:
        """Send one command and wait for its reply.

        :raises NotConnected: there was none, or it was an error; the connection is of no more use.
        """
        try:
            self.send_command(*command)
            return self.read_response(disable_decoding=True)
        except (RedisError, OSError) as error:
            raise self._unusable(error) from error

    def is_replica(self) -> bool:
        """Whether the server follows another one; False where the user may not ask."""
        try:
            self.send_command("ROLE")
            role = self.read_response(disable_decoding=True)
        except ResponseError as error:
            release(error)
            return False
        except (RedisError, OSError) as error:
            raise self._unusable(error) from error
        return isinstance(role, list) and role[:1] == [b"slave"]

    def is_cluster_node(self) -> bool:
        """Whether the server shares a cluster with others; False where the user may not ask."""
        try:
            self.send_command("CLUSTER", "INFO")
            reply = self.read_response(disable_decoding=True)
        except ResponseError as error:
            release(error)
            return False
        except (RedisError, OSError) as error:
            raise self._unusable(error) from error
        lines = reply.decode(errors="replace").splitlines() if isinstance(reply, bytes) else ()
        return any(line.startswith("cluster_known_nodes:") and line != "cluster_known_nodes:1" for line in lines)

    def take_socket(self) -> socket.socket:
        """The connected socket; the caller's from now on, who must keep this object as long."""
        taken = self._get_socket()
        if taken is None:
            raise NotConnected(f"{self.address}: the connection was lost")
        return taken

    def _unusable(self, error: Exception) -> NotConnected:
        self.disconnect()
        release(error)
        kind = Refused if _is_refusal(error) else NotConnected
        return kind(f"{self.address}: {str(error) or type(error).__name__}")


def release(error: BaseException) -> None:
    """Let go of what an error of redis-py holds by its traceback: itself and the connection, in a circle."""
    cause: BaseException | None = error
    while cause is not None:
        clear_frames(cause.__traceback__)
        cause = cause.__cause__ or cause.__context__


def _is_refusal(error: BaseException) -> bool:
    if isinstance(error, AuthenticationError) or str(error).startswith(("NOAUTH", "WRONGPASS")):
        return True
    cause: BaseException | None = error
    while cause is not None:  # redis-py hides the alert that ended TLS behind an error of its own
        if isinstance(cause, ssl.SSLError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


class ClusterNode(NotConnected):
    """The server is a node of a cluster: vehicles are elsewhere, too."""


class OneOf:
    """The only server, or the first of several that is there and follows no other.

    :param clustered: called on a connection's thread when the servers turn out to be nodes of a cluster.
    """

    def __init__(self, access: Access, clustered: Callable[[], None] = lambda: None) -> None:
        self._access = access
        self._clustered = clustered
        self._last: Address | None = None

    def __str__(self) -> str:
        return ",".join(map(str, self._access.current().addresses))

    def __call__(self) -> ServerConnection:
        """Try the addresses in turn."""
        settings = self._access.current()
        reasons = []
        for address in _in_turn(settings.addresses, self._last):
            try:
                connection = self._in_charge(address, settings)
            except ClusterNode as error:
                self._clustered()
                raise NotConnected(str(error)) from None
            except NotConnected as error:
                reasons.append(_reason(error, self._access))
            else:
                self._last = address
                return connection
        raise NotConnected("; ".join(reasons))

    def _in_charge(self, address: Address, settings: RedisSettings) -> ServerConnection:
        try:
            connection = ServerConnection(address, settings, settings.login, db=settings.db).open()
        except NotConnected as error:
            if "SELECT is not allowed in cluster mode" in str(error):
                raise ClusterNode(f"{address}: is a node of a cluster, which has no database but 0") from error
            raise
        if len(settings.addresses) > 1:
            if not settings.cluster and connection.is_cluster_node():
                connection.disconnect()
                raise ClusterNode(f"{address}: is a node of a cluster")
            if connection.is_replica():
                connection.disconnect()
                raise NotConnected(f"{address}: is a replica")
        return connection


class Node:
    """One node of a cluster."""

    def __init__(self, address: Address, access: Access) -> None:
        self._address = address
        self._access = access

    def __str__(self) -> str:
        return str(self._address)

    def __call__(self) -> ServerConnection:
        """Connect to it."""
        settings = self._access.current()
        try:
            return ServerConnection(self._address, settings, settings.login).open()
        except NotConnected as error:
            raise NotConnected(_reason(error, self._access)) from None


class SentinelMaster:
    """The server that the sentinels call the master."""

    def __init__(self, access: Access, master: str) -> None:
        self._access = access
        self._master = master
        self._answered: Address | None = None

    def __str__(self) -> str:
        return f"the master of {self._master}"

    def __call__(self) -> ServerConnection:
        """Ask the sentinels in turn, then connect to whom they name."""
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
        for sentinel in _in_turn(settings.addresses, self._answered):
            try:
                connection = ServerConnection(sentinel, settings, settings.sentinel_login).open()
                reply = connection.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._master)
                connection.disconnect()
            except NotConnected as error:
                reasons.append(f"sentinel {_reason(error, self._access)}")
                continue
            match reply:
                case [bytes(host), bytes(port)]:
                    self._answered = sentinel
                    return Address(host.decode(), int(port))
            reasons.append(f"sentinel {sentinel}: knows no master {self._master}")
        raise NotConnected("; ".join(reasons))


def _in_turn(addresses: Sequence[Address], last: Address | None) -> list[Address]:
    """The addresses, beginning with the one that answered last: one that hangs must not delay every attempt."""
    return sorted(addresses, key=lambda address: address != last)


def _reason(error: NotConnected, access: Access) -> str:
    """Why there is no connection; after a refusal the next attempt is made with what the files hold then."""
    if isinstance(error, Refused):
        access.refused()
    return str(error)
