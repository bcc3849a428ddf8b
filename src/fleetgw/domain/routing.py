"""Routing: the sinks and the ack policy of each record type."""

from collections.abc import Mapping, Sequence

from attrs import frozen

from fleetgw.domain.acks import Accepted, AckPolicy


@frozen
class Route:
    """The route of one record type.

    :ivar sinks: names of sinks, in the configured order, no name twice.
    :ivar ack_policy: the condition for the acknowledgement of its records.
    """

    record_type: str
    sinks: tuple[str, ...]
    ack_policy: AckPolicy


def build_routes(records: Mapping[str, Sequence[str]], ack_policies: Mapping[str, AckPolicy]) -> dict[str, Route]:
    """Make the routes, by record type.

    :param records: names of sinks by record type (``records`` of the configuration, already checked).
    :param ack_policies: policies by record type; ``Accepted`` for a type left out.
    """
    return {
        record_type: Route(record_type, tuple(dict.fromkeys(sinks)), ack_policies.get(record_type, Accepted()))
        for record_type, sinks in records.items()
    }
