"""Everything that operators may observe of a running gateway, behind one timer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

from fleetgw.app.operations.signal_counts import SignalViews
from fleetgw.app.operations.streams import SecondlyStream
from fleetgw.app.operations.tap import Taps
from fleetgw.app.operations.ticking import Ticking
from fleetgw.app.operations.values import WatchedValues
from fleetgw.app.operations.vehicles import VehicleViews
from fleetgw.domain.metrics import SIGNAL_COUNT

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from fleetgw.app.operations.kept_counts import KeptCounts
    from fleetgw.app.operations.overview import Overview
    from fleetgw.app.operations.sampling import Sampling
    from fleetgw.app.pipeline.gateway import Gateway
    from fleetgw.domain.recent_refusals import RecentRefusals


@define(eq=False)
class Observation:
    """The views, and the timer that moves them on.

    :ivar ticking: the timer; a part with a life.
    :ivar overview_stream: the overview once a second.
    """

    ticking: Ticking
    overview: Overview
    overview_stream: SecondlyStream
    vehicles: VehicleViews
    signals: SignalViews
    taps: Taps
    refusals: RecentRefusals


def observe(
    gateway: Gateway, sampling: Sampling, overview: Overview, counts: KeptCounts, clock: IReactorTime
) -> Observation:
    """Make the views of a gateway."""
    sessions = gateway.sessions
    values = WatchedValues(sessions)
    vehicles = VehicleViews(sessions, values, clock)
    taps = Taps(sessions, clock)
    since_ms = gateway.wall_ns() // 1_000_000
    signals = SignalViews(sessions.signal_metrics.counts, lambda: sampling.sums(SIGNAL_COUNT, "record_type"), since_ms)
    overview_stream = SecondlyStream(overview.view)
    functions = [counts.tick, sampling.tick, values.tick, taps.tick, overview_stream.send, vehicles.tick]
    ticking = Ticking(clock, gateway.log, functions)
    return Observation(ticking, overview, overview_stream, vehicles, signals, taps, gateway.recent_refusals)
