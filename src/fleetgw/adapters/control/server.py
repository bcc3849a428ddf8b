"""The gateway's side of the control socket.

A client connects, sends one line, a JSON object whose member ``command`` is the command's name, and reads lines, each a JSON
object: any number with the single member ``progress``, then one with ``result`` or ``error``. Then the server closes. A
client that closes earlier gives the command up, as far as it is not done.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorTime, IReactorUNIX
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import LineOnlyReceiver

from fleetgw.adapters.control.address import SOCKET_NAME, address, open_folder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from twisted.internet.interfaces import IDelayedCall, IListeningPort, ITransport
    from twisted.python.failure import Failure

    from fleetgw.domain.ports import ILog

    Command = Callable[[Mapping[str, object], Callable[[object], None]], Awaitable[object]]
    """Takes the members of the request and a function for progress; its result is JSON, as is the progress.

    :raises CommandError: the request cannot be served.
    """


class IControlReactor(IReactorTime, IReactorUNIX):
    """A reactor with timers and Unix sockets."""


MAX_REQUEST_BYTES = 64 * 1024
REQUEST_TIMEOUT_S = 10.0
"""Longest time from the connection to the end of the request."""

MAX_CLIENTS = 8


class CommandError(Exception):
    """A request cannot be served; ``str()`` is the reason, and the remedy, for people."""


class ControlServer:
    """Serves commands on a Unix socket in a folder, to the user that the gateway runs as.

    :param folder: its path; the process has locked it, so that a socket left there is nobody's.
    :param commands: by name.
    """

    def __init__(self, folder: str, commands: Mapping[str, Command], reactor: IControlReactor, log: ILog) -> None:
        self.commands = commands
        self.clients: set[_Client] = set()
        self._path = folder
        self.reactor = reactor
        self._log = log
        self._folder: int | None = None
        self._port: IListeningPort | None = None

    def start(self) -> None:
        """Listen. Where that is not possible, the log tells, and there are no commands."""
        try:
            self._folder = open_folder(self._path)
            with suppress(FileNotFoundError):
                os.unlink(SOCKET_NAME, dir_fd=self._folder)
            factory = _Clients(self)
            where = address(self._folder)
            self._port = self.reactor.listenUNIX(where, factory, mode=0o600)  # type: ignore[arg-type]  # a type variable of Twisted's
        except (OSError, CannotListenError) as error:
            self._log.error("control_failed", path=self._path, error=str(error))

    def stop(self) -> Deferred[None]:
        """Give up the commands under way, and listen no more; fires then. Never fails."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        for client in [*self.clients]:
            client.give_up()
        port, self._port = self._port, None
        if port is not None:
            with suppress(OSError):  # somebody has removed the socket
                await maybeDeferred(port.stopListening)
        if self._folder is not None:
            os.close(self._folder)
            self._folder = None


class _Clients(Factory["_Client"]):
    noisy = False

    def __init__(self, server: ControlServer) -> None:
        self._server = server

    def buildProtocol(self, _addr: object) -> _Client:
        """A client's connection."""
        return _Client(self._server)


class _Client(LineOnlyReceiver):
    delimiter = b"\n"
    MAX_LENGTH = MAX_REQUEST_BYTES

    def __init__(self, server: ControlServer) -> None:
        self._server = server
        self._running: Deferred[None] | None = None
        self._timeout: IDelayedCall | None = None
        self._is_given_up = False

    def connectionMade(self) -> None:
        """A client has connected."""
        if len(self._server.clients) >= MAX_CLIENTS:
            self._end({"error": f"{MAX_CLIENTS} commands are under way; try again later"})
            return
        self._server.clients.add(self)
        self._timeout = self._server.reactor.callLater(REQUEST_TIMEOUT_S, self._close)

    def lineReceived(self, line: bytes) -> None:
        """The request."""
        self._clear_timeout()
        if self._running is None:
            self._running = Deferred.fromCoroutine(self._serve(line))

    def lineLengthExceeded(self, _line: bytes) -> None:
        """The request is too long."""
        self._end({"error": f"the request is longer than {MAX_REQUEST_BYTES} bytes"})

    async def _serve(self, line: bytes) -> None:
        try:
            request = json.loads(line)
            command = self._server.commands[request.pop("command")]
        except (ValueError, LookupError, AttributeError, TypeError, RecursionError):
            known = ", ".join(sorted(self._server.commands))
            self._end({"error": f"this gateway knows no such command here; it knows: {known}"})
            return
        try:
            self._end({"result": await command(request, self._progress)})
        except CommandError as error:
            self._end({"error": str(error)})
        except CancelledError:
            self._end({"error": "the gateway stops"})
        except Exception as error:  # the client gets an answer
            self._end({"error": f"the gateway failed: {type(error).__name__}: {error}"})

    def _progress(self, progress: object) -> None:
        if self._is_given_up:  # what the command waited for at that time does not let itself be cancelled
            raise CancelledError
        self._write({"progress": progress})

    def give_up(self) -> None:
        """End the command and the connection."""
        self._is_given_up = True
        if self._running is None:
            self._end({"error": "the gateway stops"})
        else:
            self._running.cancel()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002  Twisted's signature
        """The client is gone: end its command."""
        self._clear_timeout()
        self._server.clients.discard(self)
        self._is_given_up = True
        if self._running is not None:
            self._running.cancel()

    def _write(self, answer: Mapping[str, object]) -> None:
        cast("ITransport", self.transport).write(json.dumps(answer).encode() + b"\n")

    def _end(self, answer: Mapping[str, object]) -> None:
        self._write(answer)
        self._close()

    def _close(self) -> None:
        cast("ITransport", self.transport).loseConnection()

    def _clear_timeout(self) -> None:
        timeout, self._timeout = self._timeout, None
        if timeout is not None and timeout.active():
            timeout.cancel()
