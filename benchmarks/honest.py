"""Honest vehicles: each with its own certificate, a few records a second; they measure the latency of acknowledgements."""

import re
import select
import ssl
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from attacks import CREATED_AT_S, frame
from attrs import define, field
from load import READ_BYTES, connect

from fleetgw.adapters.codec.envelope import write_stream
from fleetgw.simulator.payloads import DriveReporter

_TXID = re.compile(rb"honest-\d{29}")
NAP_S = 0.001


@define
class Sent:
    """A record: time of sending, and latency of its acknowledgement; None when there was none."""

    at_s: float
    took_s: float | None = None


@define
class Fleet:
    """Vehicles that send in turn.

    :ivar certificates: one for each vehicle; its key lies beside it.
    :ivar sent: every record, in order.
    :ivar first: where those begin that are looked at.
    :ivar cut: how many sessions ended.
    """

    port: int
    ca: Path
    certificates: Sequence[Path]
    sent: list[Sent] = field(factory=list)
    first: int = 0
    cut: int = 0
    _sockets: dict[int, ssl.SSLSocket] = field(factory=dict)
    _turns: deque[tuple[Path, DriveReporter]] = field(factory=deque)
    _by_vehicle: dict[Path, ssl.SSLSocket] = field(factory=dict)
    _poll: select.epoll = field(factory=select.epoll)

    def connect(self) -> None:
        for number, certificate in enumerate(self.certificates):
            self._turns.append((certificate, DriveReporter(certificate.stem, number)))
            self._connect(certificate)

    def run(self, until: float, records_per_s: float, look: Callable[[], None]) -> None:
        """Send until a time, calling ``look`` regularly."""
        due = time.monotonic()
        while (now := time.monotonic()) < until:
            if now >= due:
                due += 1 / records_per_s
                self._send()
                look()
            self._receive(max(0.0, min(due - time.monotonic(), NAP_S)))

    def warm_up(self, seconds: float, records_per_s: float) -> None:
        """Send records that are not measured."""
        begin = time.monotonic()
        self.run(begin + seconds, records_per_s, lambda: None)
        self.first = len(self.sent)

    def wait(self, until: float) -> None:
        """Wait for missing acknowledgements, until a time."""
        while time.monotonic() < until and any(each.took_s is None for each in self.sent):
            self._receive(NAP_S)

    def _connect(self, certificate: Path) -> None:
        tls = ssl.create_default_context(cafile=self.ca)
        tls.load_cert_chain(certificate, certificate.with_suffix(".key"))
        vehicle = connect(self.port, tls)
        self._by_vehicle[certificate] = self._sockets[vehicle.fileno()] = vehicle
        self._poll.register(vehicle.fileno(), select.EPOLLIN)

    def _send(self) -> None:
        certificate, reporter = self._turns[0]
        self._turns.rotate(-1)
        message = write_stream(
            txid=b"honest-%029d" % len(self.sent),
            topic=b"V",
            sender_id=f"vehicle_device.{certificate.stem}".encode(),
            payload=reporter.payload("V", CREATED_AT_S * 1_000_000_000 + len(self.sent)),
            created_at_s=CREATED_AT_S,
            device_type=b"vehicle_device",
            device_id=certificate.stem.encode(),
        )
        self.sent.append(Sent(time.monotonic()))
        try:
            self._by_vehicle[certificate].send(frame(message))
        except OSError:
            self._lost(self._by_vehicle[certificate].fileno())

    def _receive(self, timeout_s: float) -> None:
        for descriptor, _ in self._poll.poll(timeout_s):
            try:
                while data := self._sockets[descriptor].recv(READ_BYTES):
                    now = time.monotonic()
                    for txid in _TXID.findall(data):
                        each = self.sent[int(txid[7:])]
                        if each.took_s is None:  # the first copy counts
                            each.took_s = now - each.at_s
            except ssl.SSLWantReadError:
                continue
            except OSError:
                pass
            self._lost(descriptor)

    def _lost(self, descriptor: int) -> None:
        self.cut += 1
        vehicle = self._sockets.pop(descriptor)
        certificate = next(each for each, socket in self._by_vehicle.items() if socket is vehicle)
        vehicle.close()
        self._connect(certificate)
