"""Routing: the sinks and the ack policy of each record type."""

from collections.abc import Mapping, Sequence

from attrs import frozen

from fleetgw.domain.acks import Accepted, AckPolicy, names_spool


@frozen
class Route:
    """The route of one record type.

    :ivar sinks: names of sinks, in the configured order, no name twice.
    :ivar ack_policy: the condition for the acknowledgement of its records.
    :ivar is_spooled: whether its records are appended to the spool.
    """

    record_type: str
    sinks: tuple[str, ...]
    ack_policy: AckPolicy
    is_spooled: bool


def build_routes(
    records: Mapping[str, Sequence[str]], ack_policies: Mapping[str, AckPolicy], *, spools_all: bool = False
) -> dict[str, Route]:
    """Make the routes, by record type.

    :param records: names of sinks by record type (``records`` of the configuration, already checked).
    :param ack_policies: policies by record type; ``Accepted`` for a type left out.
    :param spools_all: records of every type are spooled, also where the policy does not name the spool.
    """
    routes = {}
    for record_type, sinks in records.items():
        policy = ack_policies.get(record_type, Accepted())
        is_spooled = spools_all or names_spool(policy)
        routes[record_type] = Route(record_type, tuple(dict.fromkeys(sinks)), policy, is_spooled)
    return routes
