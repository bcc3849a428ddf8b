"""The status port of a gateway process over real sockets: many open pages, and their end with the gateway."""

from __future__ import annotations

import json
import signal
import socket
import tempfile
import urllib.request
from pathlib import Path
from unittest import TestCase

from tests.support.deadline import DEADLINE_S
from tests.support.free_ports import free_ports
from tests.support.gateway_process import GatewayProcess

PAGES = 200


class OpenPage:
    """A browser that has the page open."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), DEADLINE_S)
        self._received = b""
        self._socket.sendall(b"GET /api/overview/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")

    def wait_for(self, text: bytes) -> None:
        """Read until a text has come.

        :raises AssertionError: the connection ends without it.
        """
        while text not in self._received:
            chunk = self._socket.recv(65536)
            if not chunk:
                raise AssertionError(self._received[-200:])
            self._received += chunk

    def read_all(self) -> bytes:
        """Read until the connection ends."""
        while chunk := self._socket.recv(65536):
            self._received += chunk
        return self._received

    def close(self) -> None:
        """Close the page."""
        self._socket.close()


class StatusPortTests(TestCase):
    def test_two_hundred_pages_of_one_machine_which_end_with_the_gateway(self) -> None:
        status, metrics = free_ports(2)
        with (
            tempfile.TemporaryDirectory() as folder,
            GatewayProcess(Path(folder), status_port=status, monitoring={"prometheus_metrics_port": metrics}) as gateway,
        ):
            gateway.wait_for("server_listening")
            pages = [OpenPage(status) for _ in range(PAGES)]
            for page in pages:
                self.addCleanup(page.close)
                page.wait_for(b"data: {")
            self.assertEqual(self.get(status, "/status"), b"ok")
            self.assertEqual(json.loads(self.get(status, "/health?verbose"))["state"], "ok")
            self.assertIn(b"fleetgw_build_info", self.get(metrics, "/metrics"))
            gateway.signal(signal.SIGTERM)
            for page in pages:
                self.assertTrue(page.read_all().endswith(b"\r\n0\r\n\r\n"), "the stream has a proper end")
            self.assertEqual(gateway.wait(), 0)

    def get(self, port: int, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=DEADLINE_S) as response:
            body: bytes = response.read()
        return body
