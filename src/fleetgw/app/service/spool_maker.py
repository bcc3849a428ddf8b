"""Makes the spool of a configuration, with a feed for each sink that gets spooled records."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fleetgw.app.pipeline.spooling import Spooling
from fleetgw.app.service.memory_ceiling import MIB

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fleetgw.adapters.process.reactor import IThreadedReactor
    from fleetgw.app.config.sections import Config
    from fleetgw.app.pipeline.lane import Lane
    from fleetgw.domain.ports import ILog, IMetrics
    from fleetgw.domain.routing import Route


def make_spooling(
    config: Config,
    routes: Mapping[str, Route],
    lanes: Mapping[str, Lane],
    reactor: IThreadedReactor,
    metrics: IMetrics,
    log: ILog,
) -> Spooling | None:
    """Make the spool where a record type is spooled; nothing is opened yet."""
    section = config.spool
    if section is None or not any(route.is_spooled for route in routes.values()):
        return None
    from fleetgw.adapters.spool.folder import Folder  # SQLite, for gateways that have a spool
    from fleetgw.adapters.spool.limits import SpoolLimits
    from fleetgw.adapters.spool.spool import Spool

    spool = Spool(
        Folder(str(section.path)),
        SpoolLimits(section.max_mib * MIB, section.max_age_s, section.file_mib * MIB, section.when_full),
        reactor,
        metrics,
        log,
        wall_s=time.time,
        json_payloads=config.transmit_decoded_records,
    )
    return Spooling(spool, routes, lanes, reactor, metrics, log)
