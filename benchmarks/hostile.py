"""A hostile vehicle: one certificate, one or many connections, at a given rate. One process, one thread, ssl and epoll.

Prints READY, waits for a line, goes through its phases, and prints as JSON its actions in each.
"""

import argparse
import json
import select
import ssl
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from attacks import ATTACKS
from load import READ_BYTES, connect

WRITE_BYTES = 16_384
NAP_S = 0.002
RECONNECT_S = 0.1
SAVED_UP_S = 0.1
"""Bytes of one write; bytes that the socket does not take are sent later."""
VOLLEY = 8
"""Connections whose blobs are sent side by side, so that their large messages are complete at the same time."""


class Attacker:
    """Sends blobs over its connections, and discards all answers."""

    def __init__(self, port: int, tls: ssl.SSLContext, blobs: Sequence[bytes], connections: int) -> None:
        self._port = port
        self._tls = tls
        self._blobs = blobs
        self._next_blob = 0
        self._wanted = connections
        self._connect_at = 0.0
        self._poll = select.epoll()
        self._unsent: dict[int, tuple[ssl.SSLSocket, memoryview]] = {}
        self.sent_bytes = self.received_bytes = self.cut = 0

    def run(self, until: float, bytes_per_s: float) -> None:
        """Send until a time, in monotonic seconds."""
        paid_s = time.monotonic()
        while (now := time.monotonic()) < until:
            if len(self._unsent) < self._wanted and now >= self._connect_at:
                self._connect_one(now)
            for descriptor, _ in self._poll.poll(NAP_S):
                self._receive(descriptor)
            paid_s = max(paid_s, time.monotonic() - SAVED_UP_S)
            moved = True
            while moved and paid_s <= time.monotonic():
                moved = False
                for descriptor in self._volley():
                    size = self._send(descriptor)
                    moved |= size > 0
                    paid_s += size / bytes_per_s

    def close(self) -> None:
        for connection, _ in self._unsent.values():
            connection.close()
        self._unsent.clear()

    def _volley(self) -> list[int]:
        """The connections that send now: those with an unfinished blob, else the next few."""
        busy = [descriptor for descriptor, (_, unsent) in self._unsent.items() if unsent]
        if busy:
            return busy
        volley = [*self._unsent][:VOLLEY]
        for descriptor in volley:
            connection, _ = self._unsent.pop(descriptor)
            self._unsent[descriptor] = connection, memoryview(self._blobs[self._next_blob])
            self._next_blob = (self._next_blob + 1) % len(self._blobs)
        return volley

    def _connect_one(self, now: float) -> None:
        try:
            connection = connect(self._port, self._tls)
        except (OSError, SystemExit):
            self._connect_at = now + RECONNECT_S
            return
        self._unsent[connection.fileno()] = connection, memoryview(b"")
        self._poll.register(connection.fileno(), select.EPOLLIN)

    def _send(self, descriptor: int) -> int:
        connection, unsent = self._unsent[descriptor]
        try:
            size = connection.send(unsent[:WRITE_BYTES])
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            size = 0
        except OSError:
            self._lost(descriptor)
            return 0
        self._unsent[descriptor] = connection, unsent[size:]
        self.sent_bytes += size
        return size

    def _receive(self, descriptor: int) -> None:
        connection, _ = self._unsent[descriptor]
        try:
            while data := connection.recv(READ_BYTES):
                self.received_bytes += len(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError:
            pass
        self._lost(descriptor)

    def _lost(self, descriptor: int) -> None:
        connection, _ = self._unsent.pop(descriptor)
        connection.close()
        self.cut += 1
        self._connect_at = time.monotonic() + RECONNECT_S


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("ca", type=Path)
    parser.add_argument("certificate", type=Path)
    parser.add_argument("--bits-per-s", type=float, required=True)
    parser.add_argument("--phase-s", type=float, required=True)
    parser.add_argument("--phases", required=True, help="such as tags:1,frames:50")
    arguments = parser.parse_args()
    tls = ssl.create_default_context(cafile=arguments.ca)
    tls.load_cert_chain(arguments.certificate, arguments.certificate.with_suffix(".key"))
    phases = [phase.split(":") for phase in arguments.phases.split(",")]
    blobs = {name: ATTACKS[name].blobs() for name, _ in phases}
    print("READY", flush=True)
    sys.stdin.readline()
    until = time.monotonic()
    for name, connections in phases:
        until += arguments.phase_s
        attacker = Attacker(arguments.port, tls, blobs[name], int(connections))
        attacker.run(until, arguments.bits_per_s / 8)
        attacker.close()
        result = {"sent_bytes": attacker.sent_bytes, "received_bytes": attacker.received_bytes, "cut": attacker.cut}
        print(json.dumps(result), flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main()
