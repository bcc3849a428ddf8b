"""Which sinks a record type goes to, and when its records are acknowledged."""

from collections.abc import Mapping, Sequence

from attrs import frozen

from fleetgw.domain.acks import Accepted, AckPolicy


@frozen
class Route:
    """Where one record type goes.

    :ivar record_type: the type.
    :ivar sinks: names of sinks, in the configured order, no name twice.
    :ivar ack_policy: when its records are acknowledged.
    """

    record_type: str
    sinks: tuple[str, ...]
    ack_policy: AckPolicy


def build_routes(records: Mapping[str, Sequence[str]], ack_policies: Mapping[str, AckPolicy]) -> dict[str, Route]:
    """Make the routing table: record type -> route.

    :param records: record type -> names of sinks (``records`` of the configuration, already checked).
    :param ack_policies: record type -> policy; ``Accepted`` for a type left out.
    """
    return {
        record_type: Route(record_type, tuple(dict.fromkeys(sinks)), ack_policies.get(record_type, Accepted()))
        for record_type, sinks in records.items()
    }
