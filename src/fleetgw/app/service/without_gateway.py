"""Changes in a folder that no gateway uses, as a running one makes them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fleetgw.adapters.dead_letters.stores import DeadLetterStores
from fleetgw.adapters.logs.null import NullLog
from fleetgw.adapters.metrics.null import NullMetrics
from fleetgw.app.service.dead_letter_commands import DeadLetterCommands
from fleetgw.app.service.on_reactor import run_on_reactor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fleetgw.app.service.composition import IGatewayReactor


def purge(path: str, request: Mapping[str, object]) -> object:
    """Purge dead letters, see ``DeadLetterCommands.purge``. Runs the reactor, so it can be called once in a process.

    :raises ConfigurationError: the folder is in use, or cannot be used.
    :raises CommandError: as ``DeadLetterCommands.purge``.
    """

    async def work(reactor: IGatewayReactor) -> object:
        stores = DeadLetterStores(path, 2**63, reactor, NullMetrics(), NullLog(), wall_s=time.time)
        try:
            await stores.start()
            return await DeadLetterCommands(stores.sinks, dict).purge(request, lambda _: None)
        finally:
            await stores.stop()

    return run_on_reactor(work)
