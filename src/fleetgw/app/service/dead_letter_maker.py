"""Makes the dead-letter stores of a configuration."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fleetgw.app.service.memory_ceiling import MIB

if TYPE_CHECKING:
    from fleetgw.adapters.dead_letters.stores import DeadLetterStores
    from fleetgw.adapters.process.reactor import IThreadedReactor
    from fleetgw.app.config.sections import Config
    from fleetgw.domain.ports import ILog, IMetrics


def make_dead_letters(config: Config, reactor: IThreadedReactor, metrics: IMetrics, log: ILog) -> DeadLetterStores | None:
    """Make the stores, without opening any; None where dead letters go to the log."""
    section = config.dead_letters
    if section is None:
        return None
    from fleetgw.adapters.dead_letters.stores import DeadLetterStores  # SQLite, for gateways that store records

    return DeadLetterStores(str(section.path), section.max_mib * MIB, reactor, metrics, log, wall_s=time.time)
