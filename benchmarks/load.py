"""The vehicles of the benchmarks: one process, one thread, ssl and epoll.

Prints READY once it is connected, waits for a line, does its work, prints its results as JSON, and waits for another line:
the operations done, and for records also those a second, and the time from sending to acknowledgement.
"""

import argparse
import json
import select
import socket
import ssl
import sys
import time
from collections import deque
from itertools import cycle
from pathlib import Path

from attrs import evolve
from frames import read_frames
from shapes import SHAPES, Shape

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nUser-Agent: benchmark\r\n\r\n"
)
READ_BYTES = 65_536
STALL_S = 10
NAP_S = 0.0002


def connect(port: int, tls: ssl.SSLContext) -> ssl.SSLSocket:
    """A vehicle's socket after the upgrade, not blocking."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=STALL_S)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    vehicle = tls.wrap_socket(plain, server_hostname="localhost")
    vehicle.sendall(UPGRADE)
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += vehicle.recv(READ_BYTES)
    if not answer.startswith(b"HTTP/1.1 101"):
        raise SystemExit(f"no upgrade: {answer[:200]!r}")
    vehicle.setblocking(False)
    return vehicle


class Load:
    """Sends records in one shape and counts acknowledgements."""

    def __init__(self, shape: Shape, frames: list[bytes], ack: bytes, vehicles: list[ssl.SSLSocket]) -> None:
        self._shape = shape
        self._ack_size = len(ack)
        together = shape.together
        self._writes = cycle([b"".join(frames[at : at + together]) for at in range(0, len(frames), together)])
        self._vehicles = vehicles
        self._by_descriptor = {vehicle.fileno(): vehicle for vehicle in vehicles}
        self._unacked = dict.fromkeys(vehicles, 0)
        self._partial = dict.fromkeys(vehicles, 0)
        self._sent_s: dict[ssl.SSLSocket, deque[float]] = {vehicle: deque() for vehicle in vehicles}
        self.latencies_s: list[float] = []
        self._poll = select.epoll()
        for descriptor in self._by_descriptor:
            self._poll.register(descriptor, select.EPOLLIN)
        self.sent = self.acked = 0

    def as_acknowledged(self) -> None:
        """Every vehicle keeps its window full."""
        for vehicle in self._vehicles:
            self._fill(vehicle)
        self._until_acked(refill=True)

    def paced(self) -> None:
        """Vehicles send in turn, at the shape's rate."""
        due, pause = time.monotonic(), 1 / self._shape.rate
        for vehicle in cycle(self._vehicles):
            if self.sent >= self._shape.records:
                break
            while (wait := due - time.monotonic()) > 0:
                if not self._receive(0):
                    time.sleep(min(wait, NAP_S))
            due += pause
            self._send(vehicle, 1)
        self._until_acked(refill=False)

    def _fill(self, vehicle: ssl.SSLSocket) -> None:
        shape, together = self._shape, self._shape.together
        while self._unacked[vehicle] + together <= shape.window and self.sent < shape.records:
            self._send(vehicle, together)
            self._unacked[vehicle] += together

    def _send(self, vehicle: ssl.SSLSocket, records: int) -> None:
        vehicle.send(next(self._writes))
        self._sent_s[vehicle].extend([time.monotonic()] * records)
        self.sent += records

    def _until_acked(self, *, refill: bool) -> None:
        while self.acked < self.sent:
            ready = self._receive(STALL_S)
            if not ready:
                raise SystemExit(f"stalled: {self.acked} of {self.sent} records acknowledged")
            if refill:
                for vehicle in ready:
                    self._fill(vehicle)

    def _receive(self, timeout_s: float) -> list[ssl.SSLSocket]:
        ready = [self._by_descriptor[descriptor] for descriptor, _ in self._poll.poll(timeout_s)]
        for vehicle in ready:
            self._count(vehicle)
        return ready

    def _count(self, vehicle: ssl.SSLSocket) -> None:
        size = self._partial[vehicle]
        try:
            while data := vehicle.recv(READ_BYTES):
                if not size and data[1] != self._ack_size - 2:
                    raise SystemExit(f"an answer that is no acknowledgement: {data[:100]!r}")
                size += len(data)
            raise SystemExit("the server closed a connection")
        except ssl.SSLWantReadError:
            pass
        acks, self._partial[vehicle] = divmod(size, self._ack_size)
        self._unacked[vehicle] -= acks
        self.acked += acks
        now_s, sent_s = time.monotonic(), self._sent_s[vehicle]
        self.latencies_s += [now_s - sent_s.popleft() for _ in range(acks)]


def wait_for_go() -> None:
    print("READY", flush=True)
    sys.stdin.readline()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=[*SHAPES, "handshake", "idle"])
    parser.add_argument("port", type=int)
    parser.add_argument("folder", type=Path, help="with frames.json, and the certificates in certs/")
    parser.add_argument(
        "--number", type=int, default=0, help="handshakes, or idle vehicles, or other than the shape's records"
    )
    parser.add_argument("--vehicles", type=int, default=0, help="other than the shape's")
    arguments = parser.parse_args()
    certificate = next(arguments.folder.glob("certs/vehicles/*.crt"))
    tls = ssl.create_default_context(cafile=arguments.folder / "certs" / "ca.crt")
    tls.load_cert_chain(certificate, certificate.with_suffix(".key"))
    figures: dict[str, float] = {}
    if arguments.what == "handshake":
        wait_for_go()
        for _ in range(arguments.number):
            connect(arguments.port, tls).close()
        done = arguments.number
    elif arguments.what == "idle":
        vehicles = [connect(arguments.port, tls) for _ in range(arguments.number)]
        wait_for_go()
        done = len(vehicles)
    else:
        shape = SHAPES[arguments.what]
        shape = evolve(shape, records=arguments.number or shape.records, vehicles=arguments.vehicles or shape.vehicles)
        frames, ack = read_frames(arguments.folder / "frames.json")
        load = Load(shape, frames, ack, [connect(arguments.port, tls) for _ in range(shape.vehicles)])
        wait_for_go()
        began_s = time.monotonic()
        if shape.rate:
            load.paced()
        else:
            load.as_acknowledged()
        done, seconds = load.acked, time.monotonic() - began_s
        latencies_s = sorted(load.latencies_s)
        figures = {
            "records_s": done / seconds,
            "p50_ms": latencies_s[done // 2] * 1e3,
            "p99_ms": latencies_s[done * 99 // 100] * 1e3,
        }
    print(json.dumps({"done": done} | figures), flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main()
