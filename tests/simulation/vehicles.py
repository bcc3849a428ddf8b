"""Simulated vehicles: they keep each record until it is acknowledged, over any number of connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import Factory, define
from zope.interface import implementer

from fleetgw.domain.ports import IVehicleLink
from fleetgw.domain.records import PeerIdentity, Vehicle
from tests.simulation.oracle import Issued
from tests.simulation.wire import message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from fleetgw.app.pipeline.gateway import Gateway
    from fleetgw.app.pipeline.session import Session
    from fleetgw.domain.records import Record
    from tests.simulation.oracle import Oracle


@define(eq=False)
class Unacked:
    """A record that waits for its acknowledgement."""

    message: bytes
    sent_at_s: float
    link: SimulatedLink | None


@implementer(IVehicleLink)
class SimulatedLink:
    """One connection of a vehicle.

    :ivar is_deaf: replies do not reach the vehicle any more, and nobody knows it yet.
    :ivar is_paused: whether the gateway does not read.
    """

    def __init__(self, owner: SimulatedVehicle, vehicle: Vehicle, clock: IReactorTime) -> None:
        self.vehicle = vehicle
        self.is_deaf = False
        self.is_open = True
        self.is_paused = False
        self.session: Session
        self._owner = owner
        self._clock = clock
        self._unread: list[bytes] = []
        self._next_read: IDelayedCall | None = None

    def receive(self, messages: Sequence[bytes]) -> None:
        """Hand messages of the vehicle to the session, once the gateway reads."""
        self._unread += messages
        if self._next_read is None:
            self._read()

    def _read(self) -> None:
        self._next_read = None
        if self._unread and not self.is_paused:
            messages, self._unread = self._unread, []
            self.session.received(messages)

    def pause_reading(self) -> None:
        """See ``IVehicleLink``."""
        if self.is_paused:
            raise self._owner.oracle.violated(f"{self.vehicle.connection_id} is paused twice")
        self.is_paused = True

    def resume_reading(self) -> None:
        """See ``IVehicleLink``."""
        if not self.is_paused:
            raise self._owner.oracle.violated(f"{self.vehicle.connection_id} is resumed twice")
        self.is_paused = False
        if self._next_read is None:
            self._next_read = self._clock.callLater(0, self._read)

    def acknowledge(self, records: Sequence[Record]) -> None:
        """See ``IVehicleLink``."""
        if not records:
            raise self._owner.oracle.violated("an acknowledgement of nothing")
        if not self.is_open:
            raise self._owner.oracle.violated(f"an acknowledgement on {self.vehicle.connection_id}, which has ended")
        for record in records:
            if record.vehicle is not self.vehicle:
                raise self._owner.oracle.violated(f"{self.vehicle.connection_id} hears of {record}")
            self._owner.oracle.acknowledged(record)
            self._forget(record.txid)

    def acknowledge_unknown(self, txid: bytes) -> None:
        """See ``IVehicleLink``."""
        self._forget(txid)

    def reply_error(self, txid: bytes) -> None:
        """See ``IVehicleLink``."""
        if txid in self._owner.unacked:
            raise self._owner.oracle.violated(f"an error reply to {txid!r}")

    def close(self, reason: str) -> None:  # noqa: ARG002  the port's
        """See ``IVehicleLink``."""
        self.end()

    def end(self) -> None:
        """The connection ends."""
        if self.is_open:
            self.is_open = False
            self.session.disconnected()
            self.forget()

    def forget(self) -> None:
        """Forget the connection."""
        self.is_open = False
        if self._next_read is not None:
            self._next_read.cancel()
        self._owner.links.remove(self)

    def _forget(self, txid: bytes) -> None:
        if not self.is_deaf:
            self._owner.unacked.pop(txid, None)


@define(eq=False)
class SimulatedVehicle:
    """One vehicle.

    :ivar unacked: by txid, in the order in which they were made.
    """

    vin: str
    oracle: Oracle
    resend_s: float
    unacked: dict[bytes, Unacked] = Factory(dict)
    links: list[SimulatedLink] = Factory(list)
    _connections: int = 0
    _records: int = 0

    def connect(self, gateway: Gateway) -> SimulatedLink:
        """Open a connection."""
        self._connections += 1
        vehicle = Vehicle(PeerIdentity("vehicle_device", self.vin), self.vin, f"{self.vin}-{self._connections}")
        link = SimulatedLink(self, vehicle, gateway.clock)
        link.session = gateway.connected(vehicle, link)
        self.links.append(link)
        return link

    def make(self, record_type: str, payload_bytes: int) -> bytes:
        """Make a record; returns its txid."""
        self._records += 1
        txid = b"%d" % self._records
        payload = (b"%s:%s:" % (self.vin.encode(), txid)).ljust(payload_bytes, b".")
        self.oracle.issued[self.vin, txid] = Issued(record_type, payload)
        self.unacked[txid] = Unacked(message(self.vin, record_type, txid, payload), 0.0, None)
        return txid

    def send(self, link: SimulatedLink, txids: Sequence[bytes], now_s: float) -> None:
        """Send records in one read of the gateway."""
        messages = []
        for txid in txids:
            unacked = self.unacked[txid]
            unacked.link, unacked.sent_at_s = link, now_s
            messages.append(unacked.message)
        link.receive(messages)

    def due(self, now_s: float) -> list[bytes]:
        """The records to be sent again."""
        return [
            txid
            for txid, each in self.unacked.items()
            if each.link is None or not each.link.is_open or now_s - each.sent_at_s >= self.resend_s
        ]
