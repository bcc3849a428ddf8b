"""Vehicles that are connected, say nothing and answer pings: one process, one thread, ssl and epoll.

Prints READY once all are connected, and ends with its input.
"""

import argparse
import select
import ssl
import sys
import tempfile
from pathlib import Path

from attrs import define, field
from load import READ_BYTES, Certificates, client_tls, connect

PING, PONG = 0x89, 0x8A
MASK = bytes(4)


@define
class IdleVehicles:
    """The vehicles by file descriptor."""

    port: int
    tls: ssl.SSLContext
    certificates: Certificates
    _vehicles: dict[int, ssl.SSLSocket] = field(factory=dict)
    _poll: select.epoll = field(factory=select.epoll)

    def connect(self, number: int) -> None:
        """Connect so many; those that are connected answer meanwhile."""
        for _ in range(number):
            self.tls.load_cert_chain(self.certificates.make())
            vehicle = connect(self.port, self.tls)
            self._vehicles[vehicle.fileno()] = vehicle
            self._poll.register(vehicle, select.EPOLLIN)
            self._answer(0)

    def wait_for_end(self) -> None:
        """Answer until the input ends."""
        self._poll.register(sys.stdin, select.EPOLLIN | select.EPOLLHUP)
        while sys.stdin.fileno() not in self._answer(None):
            pass

    def _answer(self, timeout_s: float | None) -> list[int]:
        """Answer the pings that have come; the descriptors that are ready."""
        ready = [descriptor for descriptor, _ in self._poll.poll(timeout_s)]
        for descriptor in ready:
            if descriptor in self._vehicles:
                self._pong(self._vehicles[descriptor])
        return ready

    def _pong(self, vehicle: ssl.SSLSocket) -> None:
        try:
            frame = vehicle.recv(READ_BYTES)
        except ssl.SSLWantReadError:
            return
        if not frame or frame[0] != PING:
            raise SystemExit(f"no ping: {frame[:50]!r}")
        vehicle.send(bytes((PONG, 0x80 | frame[1])) + MASK + frame[2:])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("folder", type=Path, help="with the certificates in certs/")
    parser.add_argument("number", type=int)
    arguments = parser.parse_args()
    certs = arguments.folder / "certs"
    with tempfile.TemporaryDirectory() as scratch:
        tls = client_tls(next(certs.glob("vehicles/*.crt")))
        vehicles = IdleVehicles(arguments.port, tls, Certificates(certs, Path(scratch)))
        vehicles.connect(arguments.number)
        print("READY", flush=True)
        vehicles.wait_for_end()


if __name__ == "__main__":
    main()
