"""One connection to a Redis server, made by redis-py: TLS, authentication, database. Everything here blocks."""

from __future__ import annotations

import ssl
from traceback import clear_frames
from typing import TYPE_CHECKING

from redis.connection import Connection
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError

from fleetgw.domain.errors import NotConnected

if TYPE_CHECKING:
    import socket

    from fleetgw.adapters.sinks.redis.settings import Address, Login, RedisSettings

TCP_CONNECT_TIMEOUT_S = 1.5
"""Time for TCP to connect: a host that is back is found by the next attempt, not by the system's third retransmission."""


class Refused(NotConnected):
    """Authentication or TLS failed: passwords or certificates may have been replaced."""


class ServerConnection(Connection):
    """redis-py's connection, with the TLS of our settings and access to its socket.

    :ivar address: of the server.
    """

    def __init__(self, address: Address, settings: RedisSettings, login: Login, *, db: int = 0) -> None:
        super().__init__(
            host=address.host,
            port=address.port,
            db=db,
            username=login.username,
            password=login.password,
            socket_connect_timeout=min(TCP_CONNECT_TIMEOUT_S, settings.connect_timeout_s),
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
        except (OSError, ValueError):  # ValueError: no certificate can have this name
            raw.close()
            raise

    def open(self) -> ServerConnection:
        """Connect and authenticate.

        :raises NotConnected: it failed; has the reason.
        """
        try:
            self.connect()
            self.send_command("PING")  # a server that wants a password refuses the first command, not the connection
            self.read_response()
        except NoPermissionError as error:
            release(error)  # a user without the right to ping may still publish
        except (RedisError, OSError, ValueError) as error:
            raise self._unusable(error) from error
        return self

    def ask(self, *command: str | bytes) -> object:
        """Send one command and wait for its reply.

        :raises NotConnected: there was none, or it was an error; the connection is closed.
        """
        try:
            self.send_command(*command)
            return self.read_response(disable_decoding=True)
        except (RedisError, OSError) as error:
            raise self._unusable(error) from error

    def is_replica(self) -> bool:
        """Whether the server is a replica; False where the user may not ask.

        :raises NotConnected: as ``ask``.
        """
        role = self._ask_if_permitted("ROLE")
        return isinstance(role, list) and role[:1] == [b"slave"]

    def is_cluster_node(self) -> bool:
        """Whether the server is one of several nodes of a cluster; False where the user may not ask.

        :raises NotConnected: as ``ask``.
        """
        reply = self._ask_if_permitted("CLUSTER", "INFO")
        lines = reply.decode(errors="replace").splitlines() if isinstance(reply, bytes) else ()
        return any(line.startswith("cluster_known_nodes:") and line != "cluster_known_nodes:1" for line in lines)

    def take_socket(self) -> socket.socket:
        """The connected socket, for the caller's own use; this object must live as long.

        :raises NotConnected: the connection is lost.
        """
        taken = self._get_socket()
        if taken is None:
            raise NotConnected(f"{self.address}: the connection was lost")
        return taken

    def _ask_if_permitted(self, *command: str) -> object:
        """The reply to a command; None where it is an error."""
        try:
            self.send_command(*command)
            return self.read_response(disable_decoding=True)
        except ResponseError as error:
            release(error)
            return None
        except (RedisError, OSError) as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> NotConnected:
        self.disconnect()
        release(error)
        kind = Refused if _is_refusal(error) else NotConnected
        return kind(f"{self.address}: {str(error) or type(error).__name__}")


def release(error: BaseException) -> None:
    """Clear the tracebacks of an error of redis-py: they refer to the error and the connection, in a circle."""
    cause: BaseException | None = error
    while cause is not None:
        clear_frames(cause.__traceback__)
        cause = cause.__cause__ or cause.__context__


def _is_refusal(error: BaseException) -> bool:
    if isinstance(error, AuthenticationError) or str(error).startswith(("NOAUTH", "WRONGPASS")):
        return True
    cause: BaseException | None = error
    while cause is not None:  # redis-py wraps the alert that ended TLS in an error of its own
        if isinstance(cause, ssl.SSLError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
