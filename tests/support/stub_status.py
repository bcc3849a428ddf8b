"""Status services in the test's own process, in place of a gateway's."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Iterable
    from unittest import TestCase

TOKEN = "a-token-of-the-test"  # noqa: S105


@frozen
class Asked:
    """A request."""

    method: str
    path: str
    query: dict[str, str]
    body: object


@frozen
class Lines:
    """An answer of lines, in chunks.

    :ivar stays_open: whether the stream stays open after the lines, until the test ends.
    """

    lines: Iterable[str]
    stays_open: bool = False


@frozen
class Refused:
    """An answer with another status code than 200, with a JSON value or text as its body."""

    code: int
    body: object = field(factory=dict)


class StubStatus:
    """A status service with given answers.

    :ivar answers: by path: a JSON value, text, ``Lines`` or ``Refused``, or a function that returns one of them for a query;
        every other path is 404 without JSON.
    :ivar open_paths: paths that need no token.
    :ivar asked: the requests so far.
    """

    def __init__(self, case: TestCase) -> None:
        self.answers: dict[str, object] = {}
        self.open_paths = {"/api/overview", "/api/overview/stream"}
        self.asked: list[Asked] = []
        self._ended = threading.Event()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                stub.answer(self)

            do_GET = do_POST = do_DELETE = _answer

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  as in the base class
                """Log nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        case.addCleanup(server.server_close)
        case.addCleanup(thread.join)
        case.addCleanup(server.shutdown)
        case.addCleanup(self._ended.set)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer a request."""
        parts = urlsplit(handler.path)
        content = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        query = dict(parse_qsl(parts.query))
        self.asked.append(Asked(handler.command, parts.path, query, json.loads(content) if content else None))
        answer = self.answers.get(parts.path, Refused(404, "404 page not found\n"))
        if callable(answer):
            answer = answer(query)
        if parts.path not in self.open_paths and handler.headers.get("Authorization") != f"Bearer {TOKEN}":
            answer = Refused(401, {"error": "the token is wrong", "fix": "send operations.token"})
        if isinstance(answer, Lines):
            self._stream(handler, answer)
            return
        code, value = (answer.code, answer.body) if isinstance(answer, Refused) else (200, answer)
        body = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        handler.send_response(code)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def _stream(self, handler: BaseHTTPRequestHandler, answer: Lines) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        try:
            for line in answer.lines:
                chunk = f"{line}\n".encode()
                handler.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            if answer.stays_open:
                self._ended.wait()
            handler.wfile.write(b"0\r\n\r\n")
        except OSError:
            handler.close_connection = True


class RawServer:
    """A server that answers each connection with the same bytes.

    :param stays_open: whether it keeps the connections open afterwards, until the test ends.
    """

    def __init__(self, case: TestCase, answer: bytes, *, stays_open: bool = False) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._answer, self._stays_open = answer, stays_open
        self._connections: list[socket.socket] = []
        thread = threading.Thread(target=self._serve)
        thread.start()
        case.addCleanup(self._close)
        case.addCleanup(thread.join)
        case.addCleanup(self._listener.shutdown, socket.SHUT_RDWR)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            try:
                connection.recv(65536)
                connection.sendall(self._answer)
                if not self._stays_open:
                    connection.shutdown(socket.SHUT_WR)
            except OSError:
                continue

    def _close(self) -> None:
        for each in (self._listener, *self._connections):
            each.close()
