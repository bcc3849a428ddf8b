"""The ports between ingress and the core: links to vehicles, and sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fleetgw.domain.ports.trace import ITrace
    from fleetgw.domain.records import Envelope, Record, Vehicle


class IVehicleLink(Interface):
    """Replies to one connected vehicle. Provided by ingress, which alone frames and writes them.

    Methods may be called in any order, from ``IGateway.connected`` on, also from within ``ISession.received``. Replies leave
    in the order of the calls. Those of one call leave in one write, as do those of one ``ISession.received``. Once the
    connection has ended or begins to close, every method does nothing.
    """

    def acknowledge(records: Sequence[Record]) -> None:
        """Acknowledge records: the one way to do so. A record that a session has not received must not be given.

        :param records: one or more of this vehicle's records, in the order in which their acks are to leave; not kept.
        """

    def acknowledge_unknown(txid: bytes) -> None:
        """Acknowledge a message that holds no record; the ack has no record type.

        :param txid: of the message's envelope; any bytes.
        """

    def reply_error(txid: bytes) -> None:
        """Answer a message with the error reply.

        :param txid: of the message's envelope; empty when it could not be read.
        """

    def pause_reading() -> None:
        """Read no more from the vehicle until ``resume_reading``: its records wait for room in a queue.

        Called within ``ISession.received``, which is not called again before ``resume_reading``. Messages of the same read
        that were not received yet wait with the link; TCP's flow control stops the vehicle.
        """

    def resume_reading() -> None:
        """Read again, in a later turn of the reactor. Called once after each ``pause_reading``, not within ``received``."""

    def close(reason: str) -> None:
        """Begin the closing handshake, with the WebSocket code 1001. Replies before it still leave.

        :param reason: for the vehicle; at most 123 bytes as UTF-8.
        """


class ISession(Interface):
    """The core's side of one connection; made by ``IGateway.connected``."""

    trace: ITrace | None = Attribute("Takes the stages of the records; None, as at first, when nobody follows the vehicle.")

    def received(messages: Sequence[Envelope | bytes]) -> None:
        """Take messages of the vehicle. Called in the order received, any number of times before ``disconnected``.

        Replies that are due at once are given to the link before this returns; acks that wait for a sink come later.

        :param messages: the whole WebSocket messages of one read, in order; may be empty. A message is an envelope, or a
            payload whose envelope the session reads. One that is wrong in any way is answered, and the others are taken.
        """

    def when_settled(called: Callable[[], None]) -> None:
        """Call a function once, when no record of the session waits for an acknowledgement: at once if none does.

        Called at most once, when no further message will be received. A record that waits for room in a queue counts; one
        that no sink can make due any more does not. After ``disconnected`` the function is not called.
        """

    def disconnected() -> None:
        """Forget the link: the connection has ended. Called once, whichever side ended it; no other call follows."""


class IGateway(Interface):
    """The core as ingress sees it."""

    def connected(vehicle: Vehicle, link: IVehicleLink) -> ISession:
        """Open a session. Called once for each connection of an authorised vehicle, when its upgrade is done.

        :param vehicle: its identity and its request headers; a vehicle that reconnects is another object.
        :param link: used until ``ISession.disconnected``.
        """
