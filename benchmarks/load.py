"""The vehicles of the benchmarks: one process, one thread, ssl and epoll.

Prints READY once it is prepared. For each line that it reads, it does its work once and prints the results as JSON: the
operations done, and for records also those a second, and the time from sending to acknowledgement. It ends with its input.
"""

import argparse
import json
import random
import select
import socket
import ssl
import sys
import tempfile
import time
from collections import deque
from datetime import UTC, datetime
from itertools import count, cycle
from pathlib import Path
from typing import Protocol

from attrs import define, evolve, field
from frames import read_frames
from shapes import SHAPES, Shape

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nUser-Agent: benchmark\r\n\r\n"
)
READ_BYTES = 16_384
STALL_S = 10
NAP_S = 0.0002
VALID_DAYS = 2

Results = dict[str, float]


class Work(Protocol):
    """One kind of load."""

    def prepare(self) -> None:
        """Prepare the next run."""

    def run(self) -> Results:
        """Work; this is measured."""


def client_tls(certificate: Path) -> ssl.SSLContext:
    """TLS of a vehicle, or of one after another. The server's certificate costs the server the same, checked or not."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    tls.load_cert_chain(certificate, certificate.with_suffix(".key"))
    return tls


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


class Certificates:
    """Makes vehicles' certificates, each for another vehicle."""

    def __init__(self, certs: Path, folder: Path) -> None:
        from fleetgw.simulator.certificates import read_credential

        self._authority = read_credential((certs / "ca.crt").read_bytes(), (certs / "ca.key").read_bytes())
        self._numbers = count(random.randrange(10**7))
        self._folder = folder

    def make(self) -> Path:
        """A new file of a certificate and its key."""
        from fleetgw.simulator.certificates import make_vehicle

        vin = f"5YJ3E1EA7{next(self._numbers):08}"
        vehicle = make_vehicle(self._authority, vin, datetime.now(UTC), VALID_DAYS)
        file = self._folder / f"{vin}.pem"
        file.write_bytes(vehicle.certificate_pem() + vehicle.key_pem())
        return file


class Handshakes:
    """Vehicles connect, one after the other, each with a certificate of its own, and close.

    :param come_again: the same vehicles in every run; else no vehicle comes twice.
    """

    def __init__(self, port: int, tls: ssl.SSLContext, certificates: Certificates, number: int, *, come_again: bool) -> None:
        self._port, self._tls, self._certificates = port, tls, certificates
        self._number, self._come_again = number, come_again
        self._files: list[Path] = []

    def prepare(self) -> None:
        if self._come_again and self._files:
            return
        self._files = [self._certificates.make() for _ in range(self._number)]
        if self._come_again:
            self.run()

    def run(self) -> Results:
        for file in self._files:
            self._tls.load_cert_chain(file)
            connect(self._port, self._tls).close()
        return {"done": self._number}


class Idle:
    """Vehicles that say nothing, each with a certificate of its own; they stay connected."""

    def __init__(self, port: int, tls: ssl.SSLContext, certificates: Certificates, number: int) -> None:
        self._port, self._tls, self._certificates, self._number = port, tls, certificates, number
        self._vehicles: list[ssl.SSLSocket] = []

    def prepare(self) -> None:
        while len(self._vehicles) < self._number:
            self._tls.load_cert_chain(self._certificates.make())
            self._vehicles.append(connect(self._port, self._tls))

    def run(self) -> Results:
        return {"done": self._number}


@define(eq=False)
class Vehicle:
    """A connected vehicle.

    :ivar unacked: records.
    :ivar partial: bytes of an acknowledgement of which others are to come.
    :ivar sent_s: for each record without an acknowledgement.
    """

    socket: ssl.SSLSocket
    unacked: int = 0
    partial: int = 0
    sent_s: deque[float] = field(factory=deque)


class Records:
    """Sends records in one shape and counts acknowledgements."""

    def __init__(self, shape: Shape, port: int, tls: ssl.SSLContext, frames: list[bytes], ack: bytes) -> None:
        self._shape = shape
        self._ack_size = len(ack)
        together = shape.together
        self._writes = cycle([b"".join(frames[at : at + together]) for at in range(0, len(frames), together)])
        self._vehicles = [Vehicle(connect(port, tls)) for _ in range(shape.vehicles)]
        self._by_descriptor = {vehicle.socket.fileno(): vehicle for vehicle in self._vehicles}
        self._poll = select.epoll()
        for descriptor in self._by_descriptor:
            self._poll.register(descriptor, select.EPOLLIN)
        self._buffer = bytearray(READ_BYTES)
        self.prepare()

    def prepare(self) -> None:
        self._sent = self._acked = 0
        self._latencies_s: list[float] = []

    def run(self) -> Results:
        began_s = time.monotonic()
        if self._shape.rate:
            self._paced()
        else:
            self._as_acknowledged()
        done, seconds, latencies_s = self._acked, time.monotonic() - began_s, sorted(self._latencies_s)
        return {
            "done": done,
            "records_s": done / seconds,
            "p50_ms": latencies_s[done // 2] * 1e3,
            "p99_ms": latencies_s[done * 99 // 100] * 1e3,
        }

    def _as_acknowledged(self) -> None:
        """Every vehicle keeps its window full."""
        for vehicle in self._vehicles:
            self._fill(vehicle)
        self._until_acked(refill=True)

    def _paced(self) -> None:
        """Vehicles send in turn, at the shape's rate."""
        due, pause = time.monotonic(), 1 / self._shape.rate
        for vehicle in cycle(self._vehicles):
            if self._sent >= self._shape.records:
                break
            while (wait := due - time.monotonic()) > 0:
                if not self._receive(0):
                    time.sleep(min(wait, NAP_S))
            due += pause
            self._send(vehicle, 1)
        self._until_acked(refill=False)

    def _fill(self, vehicle: Vehicle) -> None:
        shape, together = self._shape, self._shape.together
        while vehicle.unacked + together <= shape.window and self._sent < shape.records:
            self._send(vehicle, together)

    def _send(self, vehicle: Vehicle, records: int) -> None:
        vehicle.socket.send(next(self._writes))
        vehicle.sent_s.extend([time.monotonic()] * records)
        vehicle.unacked += records
        self._sent += records

    def _until_acked(self, *, refill: bool) -> None:
        while self._acked < self._sent:
            ready = self._receive(STALL_S)
            if not ready:
                raise SystemExit(f"stalled: {self._acked} of {self._sent} records acknowledged")
            if refill:
                for vehicle in ready:
                    self._fill(vehicle)

    def _receive(self, timeout_s: float) -> list[Vehicle]:
        ready = [self._by_descriptor[descriptor] for descriptor, _ in self._poll.poll(timeout_s)]
        now_s = time.monotonic()
        for vehicle in ready:
            self._count(vehicle, now_s)
        return ready

    def _count(self, vehicle: Vehicle, now_s: float) -> None:
        """Read one TLS record; of another one in the kernel, ``poll`` tells again."""
        buffer = self._buffer
        try:
            size = vehicle.socket.recv_into(buffer)
        except ssl.SSLWantReadError:  # part of a TLS record
            return
        if not size:
            raise SystemExit("the server closed a connection")
        if not vehicle.partial and buffer[1] != self._ack_size - 2:
            raise SystemExit(f"an answer that is no acknowledgement: {bytes(buffer[:100])!r}")
        acks, vehicle.partial = divmod(vehicle.partial + size, self._ack_size)
        vehicle.unacked -= acks
        self._acked += acks
        sent_s = vehicle.sent_s
        self._latencies_s += [now_s - sent_s.popleft() for _ in range(acks)]


def work(arguments: argparse.Namespace, scratch: Path) -> Work:
    folder, what, number = arguments.folder, arguments.what, arguments.number
    certs = folder / "certs"
    tls = client_tls(next(certs.glob("vehicles/*.crt")))
    match what:
        case "handshake" | "reconnect":
            certificates = Certificates(certs, scratch)
            return Handshakes(arguments.port, tls, certificates, number, come_again=what == "reconnect")
        case "idle":
            return Idle(arguments.port, tls, Certificates(certs, scratch), number)
    shape = SHAPES[what]
    shape = evolve(shape, records=number or shape.records, vehicles=arguments.vehicles or shape.vehicles)
    return Records(shape, arguments.port, tls, *read_frames(folder / "frames.json"))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=[*SHAPES, "handshake", "reconnect", "idle"])
    parser.add_argument("port", type=int)
    parser.add_argument("folder", type=Path, help="with frames.json, and the certificates in certs/")
    parser.add_argument(
        "--number", type=int, default=0, help="handshakes, or idle vehicles, or other than the shape's records"
    )
    parser.add_argument("--vehicles", type=int, default=0, help="other than the shape's")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        load = work(arguments, Path(scratch))
        load.prepare()
        print("READY", flush=True)
        while sys.stdin.readline():
            print(json.dumps(load.run()), flush=True)
            load.prepare()


if __name__ == "__main__":
    main()
