"""A proxy before a Kinesis that injects faults which the emulator does not make."""

from __future__ import annotations

import json
import socket
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any  # Any: JSON

from tests.support.stub_server import StubServer


class FaultStub(StubServer):
    """An HTTP server that passes requests on; started when made.

    :param upstream_port: port of the Kinesis, on 127.0.0.1.
    :ivar throttled_requests: number of the next PutRecords that are refused as a whole.
    :ivar partial_requests: number of the next PutRecords of which every third record is refused, from the second on.
    :ivar records_per_request: number of records of each PutRecords so far.
    :ivar connections: the open ones.
    """

    def __init__(self, upstream_port: int) -> None:
        super().__init__()
        self._upstream_port = upstream_port
        self.throttled_requests = 0
        self.partial_requests = 0
        self.records_per_request: list[int] = []
        self.connections: set[socket.socket] = set()
        self._lock = Lock()
        self._one_at_a_time = Lock()  # moto gives records that come at the same time the same number, and keeps one of them
        self._server: _Server | None = None
        self.come_back()

    def go_away(self) -> None:
        """Stop listening and cut every connection."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.cut()
            self._server = None

    def come_back(self) -> None:
        """Listen again."""
        if self._server is None:
            self._server = _Server(self)
            Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """Answer one request, or pass it on."""
        self.wait()
        if not headers.get("X-Amz-Target", "").endswith("PutRecords"):
            return self._pass_on(headers, body)
        request = json.loads(body)
        with self._lock:
            self.records_per_request.append(len(request["Records"]))
            throttled, self.throttled_requests = self.throttled_requests > 0, max(0, self.throttled_requests - 1)
            partial, self.partial_requests = self.partial_requests > 0, max(0, self.partial_requests - 1)
        if throttled:
            return 400, json.dumps({"__type": "ProvisionedThroughputExceededException", "message": "slow down"}).encode()
        return self._in_part(headers, request) if partial else self._pass_on(headers, body)

    def _in_part(self, headers: dict[str, str], request: dict[str, Any]) -> tuple[int, bytes]:
        records = request["Records"]
        taken = [record for place, record in enumerate(records) if place % 3 != 1]
        status, body = self._pass_on(headers, json.dumps({**request, "Records": taken}).encode())
        answers = iter(json.loads(body)["Records"])
        refusal = {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "slow down"}
        merged = [next(answers) if place % 3 != 1 else refusal for place in range(len(records))]
        return status, json.dumps({"FailedRecordCount": len(records) - len(taken), "Records": merged}).encode()

    def _pass_on(self, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        connection = HTTPConnection("127.0.0.1", self._upstream_port)
        kept = {name: value for name, value in headers.items() if name.lower() not in ("content-length", "connection")}
        try:
            with self._one_at_a_time:
                connection.request("POST", "/", body, kept)
                answer = connection.getresponse()
                return answer.status, answer.read()
        finally:
            connection.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, stub: FaultStub) -> None:
        self.stub = stub
        super().__init__(("127.0.0.1", stub.port), _Requests)

    def finish_request(self, request: Any, client_address: Any) -> None:  # Any: as in socketserver
        self.stub.connections.add(request)
        try:
            super().finish_request(request, client_address)
        finally:
            self.stub.connections.discard(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors of connections that were cut."""

    def cut(self) -> None:
        for connection in [*self.stub.connections]:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it has ended by itself


class _Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body in one segment
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status, answer = self.server.stub.answer(dict(self.headers.items()), body)
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 as in http.server
        """Log nothing."""
