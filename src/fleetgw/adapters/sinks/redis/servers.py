"""Connections to Redis servers, made by redis-py: which server, TLS, who we are, the database. Everything here blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from redis.connection import Connection
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from fleetgw.adapters.sinks.redis.settings import Address
from fleetgw.domain.errors import NotConnected

if TYPE_CHECKING:
    import socket

    from fleetgw.adapters.sinks.redis.settings import Login, RedisSettings


class FindServer(Protocol):
    """Connects to the server that is in charge now. Called on a connection's own thread, again after every loss."""

    def __call__(self) -> ServerConnection:
        """:raises NotConnected: there is none; says why."""
        ...


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
            socket_connect_timeout=settings.connect_timeout_s,
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
        except NoPermissionError:
            pass  # who may not ping may publish all the same
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
        except ResponseError:
            return False
        except (RedisError, OSError) as error:
            raise self._unusable(error) from error
        return isinstance(role, list) and role[:1] == [b"slave"]

    def take_socket(self) -> socket.socket:
        """The connected socket; the caller's from now on, who must keep this object as long."""
        taken = self._get_socket()
        if taken is None:
            raise NotConnected(f"{self.address}: the connection was lost")
        return taken

    def _unusable(self, error: Exception) -> NotConnected:
        self.disconnect()
        return NotConnected(f"{self.address}: {str(error) or type(error).__name__}")


class OneOf:
    """The only server, or the first of several that is there and follows no other."""

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings

    def __str__(self) -> str:
        return ",".join(map(str, self._settings.addresses))

    def __call__(self) -> ServerConnection:
        """Try the addresses in turn."""
        settings = self._settings
        reasons = []
        for address in settings.addresses:
            try:
                connection = ServerConnection(address, settings, settings.login, db=settings.db).open()
                if len(settings.addresses) == 1 or not connection.is_replica():
                    return connection
                connection.disconnect()
                reasons.append(f"{address}: is a replica")
            except NotConnected as error:
                reasons.append(str(error))
        raise NotConnected("; ".join(reasons))


class Node:
    """One node of a cluster."""

    def __init__(self, address: Address, settings: RedisSettings) -> None:
        self._address = address
        self._settings = settings

    def __str__(self) -> str:
        return str(self._address)

    def __call__(self) -> ServerConnection:
        """Connect to it."""
        return ServerConnection(self._address, self._settings, self._settings.login).open()


class SentinelMaster:
    """The server that the sentinels call the master."""

    def __init__(self, settings: RedisSettings, master: str) -> None:
        self._settings = settings
        self._master = master

    def __str__(self) -> str:
        return f"the master of {self._master}"

    def __call__(self) -> ServerConnection:
        """Ask the sentinels in turn, then connect to whom they name."""
        settings = self._settings
        address = self._discover()
        connection = ServerConnection(address, settings, settings.login, db=settings.db).open()
        if connection.is_replica():
            connection.disconnect()
            raise NotConnected(f"{address}: the sentinels call it the master of {self._master}, but it is a replica")
        return connection

    def _discover(self) -> Address:
        reasons = []
        for sentinel in self._settings.addresses:
            try:
                connection = ServerConnection(sentinel, self._settings, self._settings.sentinel_login).open()
                reply = connection.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._master)
                connection.disconnect()
            except NotConnected as error:
                reasons.append(f"sentinel {error}")
                continue
            match reply:
                case [bytes(host), bytes(port)]:
                    return Address(host.decode(), int(port))
            reasons.append(f"sentinel {sentinel}: knows no master {self._master}")
        raise NotConnected("; ".join(reasons))
