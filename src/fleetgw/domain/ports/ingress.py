"""The ports between ingress and the gateway: links to vehicles, and sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Interface

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetgw.domain.records import Record, Vehicle


class IVehicleLink(Interface):
    """The gateway's hold on one connected vehicle; given by ingress, which frames and writes every reply.

    Replies leave in the order of the calls; those of one ``ISession.received`` leave in one write. After the connection has
    gone, or has begun to close, every method does nothing. None of them raises.
    """

    def acknowledge(records: Sequence[Record]) -> None:
        """Acknowledge one or more records, in order."""

    def acknowledge_unknown(txid: bytes) -> None:
        """Acknowledge a message of an unknown type: without a record type."""

    def reply_error(txid: bytes) -> None:
        """Answer a message with the error reply; ``txid`` is empty when it could not be read."""

    def close(reason: str) -> None:
        """Begin the closing handshake: WebSocket code 1001, ``reason`` of at most 123 bytes."""


class ISession(Interface):
    """The core's side of one connection; made by ``IGateway.connected``."""

    def received(messages: Sequence[bytes]) -> None:
        """Take the whole WebSocket messages of one read, in order. Replies that are due at once leave by the link."""

    def disconnected() -> None:
        """The connection has gone. Called once; nothing is called afterwards."""


class IGateway(Interface):
    """The core as ingress sees it."""

    def connected(vehicle: Vehicle, link: IVehicleLink) -> ISession:
        """An authorised vehicle has finished its upgrade."""
