"""The ports between ingress and the gateway: connections, sessions, replies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Interface

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetgw.domain.records import Vehicle


class IVehicleLink(Interface):
    """The gateway's hold on one connected vehicle; given by ingress."""

    def send(replies: bytes) -> None:
        """Write replies (framed by ``IReplyFrames``) at once. After the link has gone it does nothing."""

    def close(reason: str) -> None:
        """Say goodbye (WebSocket code 1001, ``reason`` of at most 123 bytes) and close."""


class IReplyFrames(Interface):
    """Replies as they go out on the wire: the codec's envelopes framed for the transport."""

    def ack(record_type: str, txid: bytes) -> bytes:
        """One framed acknowledgement."""

    def error(txid: bytes) -> bytes:
        """One framed error reply."""


class ISession(Interface):
    """What one connection asks of the core; made by ``IGateway.connected``."""

    def received(messages: Sequence[bytes]) -> bytes:
        """Take the whole WebSocket messages of one read, in order.

        :return: the replies that are already due, framed and joined, to be written at once; may be empty.
        """

    def disconnected() -> None:
        """The connection has gone. Called once; nothing is called afterwards."""


class IGateway(Interface):
    """The core as ingress sees it."""

    def connected(vehicle: Vehicle, link: IVehicleLink) -> ISession:
        """An authorised vehicle has finished its upgrade."""
