"""Makes all that operators observe of a gateway."""

from __future__ import annotations

import socket
from importlib.metadata import version
from typing import TYPE_CHECKING

from fleetgw.adapters.ingress.hot_path import HOT_PATH
from fleetgw.app.operations.gateway_status import INTERVAL_S as STATUS_INTERVAL_S
from fleetgw.app.operations.gateway_status import StatusRecords
from fleetgw.app.operations.kept_counts import KeptCounts
from fleetgw.app.operations.observation import observe
from fleetgw.app.operations.observed_pages import ObservedPages
from fleetgw.app.operations.overview import Overview
from fleetgw.app.operations.sampling import Sampling
from fleetgw.app.operations.ticking import Ticking
from fleetgw.domain.health import Phase

if TYPE_CHECKING:
    from fleetgw.adapters.metrics.store import MetricStore
    from fleetgw.adapters.process.reactor import IThreadedReactor
    from fleetgw.app.config.sections import Config
    from fleetgw.app.operations.health import GatewayHealth
    from fleetgw.app.pipeline.gateway import Gateway
    from fleetgw.domain.ports import ILog


SIGNALS_FOLDER = "signals"
"""Folder of the signal counts, within ``operations.folder``."""


def make_observation(
    config: Config,
    gateway: Gateway,
    store: MetricStore,
    health: GatewayHealth,
    reactor: IThreadedReactor,
    log: ILog,
) -> tuple[ObservedPages, tuple[KeptCounts, Ticking, Ticking]]:
    """Make the pages, and the parts with a life in the order in which they start."""
    host, wall_ns, sessions = socket.gethostname(), gateway.wall_ns, gateway.sessions
    known = sessions.connected.known
    sampling = Sampling(store, reactor.seconds, lambda: len(known.connected))
    overview = Overview(version("fleetgw"), host, HOT_PATH, sessions, sampling, store, health.verbose, wall_ns)
    folder = None if config.operations.folder is None else str(config.operations.folder / SIGNALS_FOLDER)
    counts = KeptCounts(sessions.signal_metrics.counts, folder, reactor, wall_ns, log)
    observation = observe(gateway, sampling, overview, counts, reactor)
    status = StatusRecords(sessions, overview.status, reactor, wall_ns, log, host, lambda: health.phase is Phase.SERVING)
    making = Ticking(reactor, log, [status.make], interval_s=STATUS_INTERVAL_S, at_once=False)
    return ObservedPages(observation), (counts, observation.ticking, making)
