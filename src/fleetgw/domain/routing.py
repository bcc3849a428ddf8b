"""Which sinks a record type goes to, and when its records are acknowledged."""

from collections.abc import Mapping, Sequence

from attrs import frozen

from fleetgw.domain.acks import Accepted, AckPolicy, ConfirmedBy


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


def build_routes(records: Mapping[str, Sequence[str]], reliable_ack_sources: Mapping[str, str]) -> dict[str, Route]:
    """Make the routing table: record type -> route.

    :param records: record type -> names of sinks (``records`` of the configuration, already checked).
    :param reliable_ack_sources: record type -> the sink whose confirmation is acknowledged.
    """
    return {
        record_type: Route(
            record_type,
            tuple(dict.fromkeys(sinks)),
            ConfirmedBy(reliable_ack_sources[record_type]) if record_type in reliable_ack_sources else Accepted(),
        )
        for record_type, sinks in records.items()
    }
