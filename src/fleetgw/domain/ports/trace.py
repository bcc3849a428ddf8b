"""The port to traces: the stages of a vehicle's conversation, for an operator who follows that vehicle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from fleetgw.domain.records import Vehicle


class ITrace(Interface):
    """Takes the stages of one connection. Two are equal when the same operators follow the same connection."""

    def note(stage: str, text: str, **fields: object) -> None:
        """Keep one stage. Never blocks and never raises. No secret and no value of a payload may be in it.

        :param stage: its name, of a closed set: the table of docs/status-port.md.
        :param text: for people; cut where it is long.
        :param fields: texts, numbers, and lists of them, each of bounded length.
        """


class ITracing(Interface):
    """Finds the traces that a connection belongs to. Cheap while nothing is traced."""

    is_on = Attribute("Whether anything is traced, a bool.")

    def trace(host: str, remote: str, device_id: str = "") -> ITrace | None:
        """The trace of a connection; None when nobody follows its address or its vehicle.

        Called when a socket is accepted, when its device id is known, and when a trace has begun or ended.

        :param host: the peer's address.
        :param remote: ``host:port`` of the peer, which identifies the connection.
        :param device_id: empty while it is not known.
        """

    def follow(vehicle: Vehicle, trace: ITrace | None) -> None:
        """Note the outcomes of a vehicle's records, which come later than the end of its connection, in this trace."""
