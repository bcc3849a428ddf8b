"""The state that all sessions share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from attrs import define

if TYPE_CHECKING:
    from fleetgw.app.pipeline.connected import ConnectedVehicles
    from fleetgw.app.pipeline.paused import PausedVehicles
    from fleetgw.app.pipeline.refusals import Refusals
    from fleetgw.app.pipeline.routes import TypeRoutes
    from fleetgw.app.pipeline.signal_metrics import SignalMetrics
    from fleetgw.app.pipeline.unrouted import UnroutedRecords
    from fleetgw.domain.deduplication import AcknowledgedRecords
    from fleetgw.domain.ports import IRecordCodec
    from fleetgw.domain.records import Record, Vehicle

RecordObserver = Callable[["Vehicle", Sequence["Record"]], None]
"""Called once for the accepted records of one type in a read, with their vehicle, before they go to their lanes; duplicates
are among them. It never raises, keeps no record and takes a bounded time."""


@define(eq=False)
class SessionContext:
    """The state that all sessions share.

    :ivar refusals: counts and logs the messages that make no record.
    :ivar unrouted: the answer to records of types without a route.
    :ivar paused: the vehicles that are not read from.
    :ivar acknowledged: the records of which duplicates are not delivered; None when every record is.
    :ivar max_message_bytes: a longer message is answered with the error reply.
    :ivar monotonic: seconds, never going back.
    :ivar wall_ns: epoch nanoseconds.
    :ivar record_observers: called with accepted records, see ``RecordObserver``; empty while nobody watches.
    """

    routes: TypeRoutes
    codec: IRecordCodec
    refusals: Refusals
    unrouted: UnroutedRecords
    signal_metrics: SignalMetrics
    connected: ConnectedVehicles
    paused: PausedVehicles
    acknowledged: AcknowledgedRecords | None
    max_message_bytes: int
    monotonic: Callable[[], float]
    wall_ns: Callable[[], int]
    record_observers: tuple[RecordObserver, ...] = ()

    def add_observer(self, observer: RecordObserver) -> None:
        """Call an observer with accepted records from now on."""
        self.record_observers += (observer,)

    def remove_observer(self, observer: RecordObserver) -> None:
        """Call an observer no more."""
        self.record_observers = tuple(each for each in self.record_observers if each != observer)
