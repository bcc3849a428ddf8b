"""Random conversations of a vehicle with a whole gateway in memory, over real TLS, and what is seen of them from outside.

A conversation is made from its seed alone. The encrypted bytes are cut into reads at random.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from random import Random
from typing import TYPE_CHECKING

from attrs import frozen
from OpenSSL import SSL

from fleetgw.adapters.codec import envelope as wire
from tests.fuzz.frames import Streams, frame
from tests.fuzz.payloads import Payloads
from tests.speedups.system_tls import SystemTls
from tests.speedups.tls_pair import GARBAGE
from tests.support.raw_vehicle import UPGRADE, RawVehicle

if TYPE_CHECKING:
    from tests.support.gateway_in_memory import GatewayInMemory

_DATA_RECORD = b"\x17\x03\x03"
_STEPS = (5, 10, 20)
_BUFFER_BYTES = 1 << 14


@cache
def _inputs() -> tuple[Streams, Payloads]:
    return Streams(0), Payloads(0)


ClientTls = SSL.Connection | SystemTls


class TlsVehicle:
    """A vehicle after its upgrade. Its encrypted bytes wait until ``deliver``, which gives them to the gateway in one read.

    :ivar received: decrypted bytes of the gateway.
    :ivar unsent: encrypted bytes for the gateway.
    :ivar problem: the error that ended the reading of the gateway's bytes.
    """

    def __init__(self, gateway: GatewayInMemory, tls: ClientTls) -> None:
        self.received = b""
        self.unsent = b""
        self.problem = ""
        self.below = RawVehicle(gateway.tls_factory, None, gateway.clock)
        self.tls = tls
        tls.set_connect_state()
        while not self._is_connected():
            self._collect()
            self.deliver(len(self.unsent))
        self.write(UPGRADE)
        self.deliver(len(self.unsent))

    def _is_connected(self) -> bool:
        try:
            self.tls.do_handshake()
        except SSL.WantReadError:
            return False
        return True

    def write(self, data: bytes) -> None:
        """Encrypt one TLS record, while TLS can write."""
        with suppress(SSL.Error):
            self.tls.send(data)
        self._collect()

    def close(self) -> None:
        """Encrypt a ``close_notify``."""
        with suppress(SSL.Error):
            self.tls.shutdown()
        self._collect()

    def change_keys(self, *, both: bool) -> None:
        """Begin a key update (TLS 1.3), of both sides' keys if ``both``, or a second handshake (TLS 1.2)."""
        with suppress(SSL.Error):
            if isinstance(self.tls, SystemTls):
                self.tls.update_keys(both=both)
            else:
                self.tls.renegotiate()
                self.tls.do_handshake()
        self._collect()

    def _collect(self) -> None:
        with suppress(SSL.WantReadError):
            while True:
                self.unsent += self.tls.bio_read(_BUFFER_BYTES)

    def deliver(self, size_bytes: int) -> None:
        """Give the gateway the first bytes in one read, and take its answer."""
        data, self.unsent = self.unsent[:size_bytes], self.unsent[size_bytes:]
        if data:
            self.below.send(data)
        if answer := self.below.take():
            self.tls.bio_write(answer)
        while not self.problem:
            try:
                self.received += self.tls.recv(_BUFFER_BYTES)
            except SSL.WantReadError:
                break
            except SSL.Error as error:
                self.problem = repr(error)
        self._collect()


@frozen
class Seen:
    """The view of a conversation from outside.

    :ivar received: by the vehicle.
    :ivar problem: the error of the vehicle's TLS.
    :ivar lost: the reason for which the connection has ended.
    :ivar records: type, txid, payload and number of signals of those that the sink has.
    :ivar events: in the log.
    """

    received: bytes
    problem: str
    lost: str
    records: list[tuple[str, bytes, bytes, int]]
    events: list[str]


class Conversation:
    """One vehicle's conversation with a gateway.

    :ivar seen: what was seen from outside, step by step.
    """

    def __init__(self, seed: int, gateway: GatewayInMemory, tls: ClientTls) -> None:
        self._random = Random(seed)
        self._gateway = gateway
        self._vehicle = TlsVehicle(gateway, tls)
        self._streams, self._payloads = _inputs()
        self.seen: list[Seen] = []

    def run(self) -> None:
        """Take all steps."""
        for _ in range(self._random.choice(_STEPS)):
            self._step()
            self._observe()
        self._vehicle.deliver(len(self._vehicle.unsent))
        self._gateway.clock.advance(1)
        self._observe()
        self._vehicle.below.cut()

    def _step(self) -> None:
        random, vehicle = self._random, self._vehicle
        chance = random.random()
        if chance < 0.5:
            self._write(self._frames())
        elif chance < 0.55:
            self._write(self._streams.draw(random)[1])
        elif chance < 0.565:
            vehicle.close()
        elif chance < 0.58:
            vehicle.unsent += random.choice(GARBAGE)
        elif chance < 0.6:
            vehicle.change_keys(both=random.random() < 0.5)
        elif chance < 0.61:
            random.choice((vehicle.below.close, vehicle.below.cut))()
        elif chance < 0.65 and vehicle.unsent:
            at = random.randrange(len(vehicle.unsent))
            if random.random() < 0.1:
                vehicle.unsent = vehicle.unsent[:at] + bytes((vehicle.unsent[at] ^ 1,)) + vehicle.unsent[at + 1 :]
        self._deliver()

    def _frames(self) -> bytes:
        """Frames with usual messages, most of them whole."""
        random = self._random
        written = b""
        for _ in range(random.choice((1, 1, 1, 2, 5, 20))):
            message = wire.write_stream(
                txid=b"%d" % random.getrandbits(20),
                topic=random.choice((b"V", b"V", b"V", b"alerts", b"other")),
                sender_id=b"vehicle_device.5YJ3E1EA7KF000001",
                payload=self._payloads.draw(random)[1],
                created_at_s=7,
                device_type=b"vehicle_device",
                device_id=b"5YJ3E1EA7KF000001",
            )
            written += frame(random, message) if random.random() < 0.95 else frame(random, b"ping", first=0x89)
        return written

    def _write(self, data: bytes) -> None:
        """Encrypt as one record, or as several that end anywhere."""
        random = self._random
        size = len(data) // random.choice((1, 1, 2, 3, 20)) + 1 if random.random() < 0.98 else 1
        for at in range(0, len(data), size):
            self._vehicle.write(data[at : at + size])

    def _deliver(self) -> None:
        """Read all that is encrypted, or a part of it, or a byte less or more than a record."""
        random, unsent = self._random, self._vehicle.unsent
        match random.randrange(5):
            case 0:
                return
            case 1 | 2:
                self._vehicle.deliver(len(unsent))
            case 3 if unsent.startswith(_DATA_RECORD) and len(unsent) > 5:
                record = 5 + int.from_bytes(unsent[3:5])
                self._vehicle.deliver(record + random.choice((-1, 0, 0, 1, 4, 5, 6)))
            case _:
                while self._vehicle.unsent and random.random() < 0.9:
                    self._vehicle.deliver(random.choice((1, 5, 6, 21, 22, 23, 100, 400, 2000, 1 << 16)))

    def _observe(self) -> None:
        vehicle, gateway = self._vehicle, self._gateway
        lost = vehicle.below.lost
        self.seen.append(
            Seen(
                vehicle.received,
                vehicle.problem,
                repr(lost and lost.type),
                [(each.record_type, each.txid, each.payload, each.signals) for each in gateway.memory_sink().received],
                [event for _, event, _ in gateway.log.entries],
            )
        )
