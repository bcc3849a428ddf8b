"""Client of the status service of a running gateway: ``/api`` over HTTP, for the commands that show what it does."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from fleetgw.domain.line_limit import cut

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Generator, Iterator, Mapping
    from http.client import HTTPConnection, HTTPResponse

TOKEN_VARIABLE = "FLEETGW_TOKEN"  # noqa: S105  the name of a variable

TIMEOUT_S = 10.0
"""Longest wait for a connection, and for the next part of an answer."""

MAX_ANSWER_BYTES = 64 * 2**20
MAX_LINE_BYTES = 4 * 2**20

_PART_BYTES = 2**16
_MAX_CHARACTERS = 2000
"""Longest text of an error: a server that is no gateway may answer with anything."""

_EVERY_ADDRESS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  what a service may listen on
_LOST_HOST = {socket.TCP_KEEPIDLE: 15, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 3}
"""Keepalive of a stream: half a minute after the other host has gone, the stream ends."""


class GatewayError(Exception):
    """The gateway cannot be asked, or refuses to answer; ``str()`` is one line that says what is wrong and what to do.

    :ivar code: the HTTP status code of a refusal, None for every other error.
    """

    def __init__(self, what: str, code: int | None = None) -> None:
        super().__init__(cut(" ".join(what.split()), _MAX_CHARACTERS))
        self.code = code


def add_gateway_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a running gateway and its token; ``client_of`` reads them."""
    group = parser.add_argument_group("the running gateway")
    place = group.add_mutually_exclusive_group(required=True)
    place.add_argument("--config", metavar="FILE", type=Path, help="its configuration, which has status_port and the token")
    place.add_argument("--url", help="its status service, such as http://127.0.0.1:8080")
    group.add_argument(
        "--token-file",
        metavar="FILE",
        type=Path,
        help=f"a file that holds operations.token (default: that of --config, else the variable {TOKEN_VARIABLE})",
    )


def client_of(arguments: argparse.Namespace) -> GatewayClient:
    """The client of the gateway that the options name.

    :raises GatewayError: they name none, or no token can be read.
    """
    url, token = (arguments.url, None) if arguments.config is None else _of_configuration(arguments.config)
    if arguments.token_file is not None:
        token = _token_in(arguments.token_file)
    return GatewayClient(url, token or os.environ.get(TOKEN_VARIABLE) or None)


def run_with_client(arguments: argparse.Namespace, do: Callable[[GatewayClient], int]) -> int:
    """Call ``do`` with the client that the options name; its exit status, or 2 with a line on standard error."""
    from fleetgw.adapters.text.terminal import printable

    try:
        return do(client_of(arguments))
    except GatewayError as error:
        print(printable(f"fleetgw {arguments.command}: {error}"), file=sys.stderr, flush=True)
        return 2


def host_to_reach(listening_on: str) -> str:
    """The host by which a service of this machine is reached, from the address that it listens on."""
    return _EVERY_ADDRESS.get(listening_on, listening_on)


def _of_configuration(file: Path) -> tuple[str, str | None]:
    from fleetgw.adapters.text.addresses import address
    from fleetgw.cli.storage import CannotUse, config_of

    try:
        config = config_of(file)
    except CannotUse as error:
        problems = "; ".join(str(error).splitlines())
        raise GatewayError(f"{file}: {problems}; or name the gateway by --url and --token-file") from error
    if not config.status_port:
        raise GatewayError(
            f"{file}: status_port is 0, so that the gateway has no status service to ask; set it, such as to 8080, and start"
            " the gateway again"
        )
    token = config.operations.token
    return f"http://{address(host_to_reach(config.host), config.status_port)}", None if token is None else str(token)


def _token_in(file: Path) -> str:
    from fleetgw.adapters.secrets.secret import SecretFile, UnusableSecretFile

    try:
        return str(SecretFile.read(file))
    except UnusableSecretFile as error:
        raise GatewayError(f"--token-file: {error}") from error


class GatewayClient:
    """Asks the status service of one gateway; a connection for each request, without proxies and redirections.

    :ivar url: the address of the service, for people.
    :ivar token: the token that it sends, if any.
    """

    def __init__(self, url: str, token: str | None = None, *, port_key: str = "status_port") -> None:
        """Take the service's address, and ``operations.token`` of the gateway where one is known.

        :param port_key: the key of the configuration that sets the service's port, for messages.
        :raises GatewayError: it is no address of an HTTP service, or the token cannot stand in a header.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or parts.query or "@" in parts.netloc:
            raise GatewayError(f"--url {url!r} is no address of a gateway; write one such as http://127.0.0.1:8080")
        if token is not None and not (token.isascii() and token.isprintable() and token.strip() == token):
            raise GatewayError("the token has characters that no HTTP header can hold; use letters, digits and punctuation")
        self.url = url.rstrip("/")
        self._is_tls = parts.scheme == "https"
        self._host, self._port, self._prefix = parts.hostname, port, parts.path.rstrip("/")
        self.token = token
        self._is_it_running = f"is the gateway running, and is this its {port_key}?"
        self._no_gateway = f"is this the {port_key} of a gateway?"

    def get_json(self, path: str, query: Mapping[str, object] | None = None, *, timeout_s: float = TIMEOUT_S) -> Any:
        """The JSON value at a path. It is of any shape, therefore ``Any``.

        :param query: parameters; those that are None or empty are left out, items of a list are joined by commas.
        :raises GatewayError: there is no answer, a refusal, or no JSON.
        """
        return self._json(path, self._bounded("GET", path, query, None, timeout_s))

    def get_text(self, path: str, query: Mapping[str, object] | None = None, *, timeout_s: float = TIMEOUT_S) -> str:
        """The text at a path, of at most ``MAX_ANSWER_BYTES``.

        :raises GatewayError: there is no answer, or a refusal.
        """
        return self._bounded("GET", path, query, None, timeout_s).decode("utf-8", "replace")

    def post_json(self, path: str, body: object) -> Any:
        """Send a JSON value; the JSON value of the answer, of any shape.

        :raises GatewayError: as ``get_json``.
        """
        return self._json(path, self._bounded("POST", path, None, json.dumps(body).encode(), TIMEOUT_S))

    def delete(self, path: str) -> None:
        """Delete a path.

        :raises GatewayError: there is no answer, or a refusal.
        """
        self._bounded("DELETE", path, None, None, TIMEOUT_S)

    def stream_lines(
        self,
        path: str,
        query: Mapping[str, object] | None = None,
        *,
        for_s: float | None = None,
        silence_s: float | None = None,
    ) -> Generator[str, None, None]:
        """The lines at a path as they come, without their ends, until the gateway ends them; close it to end earlier.

        :param for_s: end after so many seconds.
        :param silence_s: longest time without a part of a line; None: for ever.
        :raises GatewayError: there is no answer, a refusal, the stream breaks off or is silent, or a line is too long.
        """
        deadline = None if for_s is None else time.monotonic() + for_s
        with self._answer("GET", path, query, None, TIMEOUT_S) as (response, sock):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _LOST_HOST.items():
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
            pending = b""
            while True:
                left_s = None if deadline is None else deadline - time.monotonic()
                if left_s is not None and left_s <= 0:
                    return
                sock.settimeout(min((each for each in (left_s, silence_s) if each is not None), default=None))
                try:
                    part = response.read1(_PART_BYTES)
                except TimeoutError:
                    if deadline is not None and deadline <= time.monotonic():
                        return
                    raise GatewayError(
                        f"{self.url}{path} has sent nothing for {silence_s:g} s; {self._is_it_running}"
                    ) from None
                if not part:
                    return
                *lines, pending = (pending + part).split(b"\n")
                if len(pending) > MAX_LINE_BYTES:
                    raise GatewayError(
                        f"{self.url}{path} sends a line of over {MAX_LINE_BYTES >> 20} MiB; {self._no_gateway}"
                    )
                for line in lines:
                    yield line.decode("utf-8", "replace").rstrip("\r")

    def stream_events(self, path: str, *, silence_s: float = TIMEOUT_S) -> Generator[Any, None, None]:
        """The JSON values of the server-sent events at a path, as ``stream_lines``; each is of any shape.

        :raises GatewayError: as ``stream_lines``; or an event is no JSON.
        """
        with closing(self.stream_lines(path, silence_s=silence_s)) as lines:
            for line in lines:
                field, _, value = line.partition(":")
                if field == "data":
                    yield self._json(path, value.encode())

    def stream_ended(self) -> GatewayError:
        """The error of a stream without an end of its own that the gateway has ended."""
        return GatewayError(f"{self.url} has ended the stream; the gateway stops, or has started anew")

    def _json(self, path: str, body: bytes) -> Any:
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise GatewayError(f"{self.url}{path} answers with something that is no JSON; {self._no_gateway}") from None

    def _bounded(
        self, method: str, path: str, query: Mapping[str, object] | None, body: bytes | None, timeout_s: float
    ) -> bytes:
        deadline = time.monotonic() + timeout_s + TIMEOUT_S
        with self._answer(method, path, query, body, timeout_s) as (response, _):
            return self._read(response, path, deadline)

    def _read(self, response: HTTPResponse, path: str, deadline: float) -> bytes:
        parts, size_bytes = [], 0
        while part := response.read1(_PART_BYTES):
            parts.append(part)
            size_bytes += len(part)
            if size_bytes > MAX_ANSWER_BYTES:
                raise GatewayError(f"{self.url}{path} answers with over {MAX_ANSWER_BYTES >> 20} MiB; ask for less")
            if time.monotonic() > deadline:
                raise TimeoutError
        if response.length:
            raise GatewayError(f"{self.url}{path} ends its answer too early; {self._is_it_running}")
        return b"".join(parts)

    @contextmanager
    def _answer(
        self, method: str, path: str, query: Mapping[str, object] | None, body: bytes | None, timeout_s: float
    ) -> Iterator[tuple[HTTPResponse, socket.socket]]:
        """A successful answer of which the body is unread, and its socket. Errors of the block become ``GatewayError``."""
        from http.client import HTTPException, IncompleteRead

        headers = {"Accept": "*/*", "Connection": "close"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            with closing(self._connection(timeout_s)) as connection:
                connection.connect()
                sock = connection.sock
                connection.request(method, self._prefix + path + _query_text(query), body, headers)
                with connection.getresponse() as response:
                    if not 200 <= response.status < 300:
                        refused = self._read(response, path, time.monotonic() + TIMEOUT_S)
                        raise self._refusal(path, response.status, refused)
                    yield response, sock
        except TimeoutError as error:
            raise GatewayError(f"{self.url} does not answer in time; {self._is_it_running}") from error
        except IncompleteRead as error:
            raise GatewayError(f"{self.url} breaks off its answer; {self._is_it_running}") from error
        except (OSError, HTTPException) as error:
            reason = f"{error.strerror if isinstance(error, OSError) and error.strerror else error or type(error).__name__}"
            raise GatewayError(f"{self.url} cannot be asked: {reason}; {self._is_it_running}") from error

    def _connection(self, timeout_s: float) -> HTTPConnection:
        from http.client import HTTPConnection, HTTPSConnection

        kind = HTTPSConnection if self._is_tls else HTTPConnection
        return kind(self._host, self._port, timeout=timeout_s)

    def _refusal(self, path: str, code: int, body: bytes) -> GatewayError:
        """The error for an answer with such a status code; a gateway's own words where it has some."""
        said = ""
        try:
            match json.loads(body):
                case {"error": str(what), "fix": str(fix)} if fix:
                    said = f"{what}; {fix}"
                case {"error": str(what)}:
                    said = what
        except (ValueError, RecursionError):
            pass
        if code == 401:
            given = (
                "the token given is not the gateway's" if self.token is not None else "a token is needed, and none is given"
            )
            fix = f"write operations.token of its configuration into {TOKEN_VARIABLE}, or name a file of it by --token-file"
            return GatewayError(f"{self.url}: {given}; {fix}", code)
        if said:
            return GatewayError(f"{self.url}{path}: {said}", code)
        if code == 403:
            fix = "ask from the gateway's own machine, or list its name in operations.hosts; set operations.token"
            return GatewayError(f"{self.url} refuses {path} with HTTP status 403; {fix}", code)
        if code == 404:
            return GatewayError(f"{self.url} has no {path}: it is a gateway older than this command, or none at all", code)
        return GatewayError(f"{self.url}{path} answers with HTTP status {code}; {self._no_gateway}", code)


def _query_text(query: Mapping[str, object] | None) -> str:
    given = {
        name: ",".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in (query or {}).items()
        if value not in (None, "", [])
    }
    return f"?{urlencode(given, quote_via=quote)}" if given else ""
