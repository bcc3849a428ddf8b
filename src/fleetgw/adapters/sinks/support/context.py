"""The context that every sink is made from."""

from collections.abc import Mapping

from attrs import frozen
from twisted.internet.interfaces import IReactorThreads, IReactorTime
from zope.interface import Interface

from fleetgw.domain.ports import ILog, IMetrics


class ISinkReactor(IReactorTime, IReactorThreads, Interface):
    """The part of the reactor that a sink may use: timers, and callbacks from its own threads."""


@frozen
class SinkContext:
    """The argument of a sink's constructor. Built-in and third-party sinks are made alike.

    :ivar name: the name that routes use; the sink's ``name``.
    :ivar settings: the sink's section of the configuration, a JSON object with secrets resolved; must not be changed.
    :ivar namespace: prefix of destination names: ``<namespace>_<record type>``.
    :ivar record_types: the record types routed to this sink.
    :ivar reactor: clock and thread entry; nothing imports the global reactor.
    :ivar metrics: takes the sink's metrics.
    :ivar log: takes its events.
    """

    name: str
    settings: Mapping[str, object]
    namespace: str
    record_types: tuple[str, ...]
    reactor: ISinkReactor
    metrics: IMetrics
    log: ILog

    def destination(self, record_type: str) -> str:
        """Topic, stream or channel name of a record type."""
        return f"{self.namespace}_{record_type}"
