"""Makes the control sockets: one in each folder that the gateway locks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fleetgw.adapters.control.server import ControlServer, IControlReactor
    from fleetgw.adapters.dead_letters.stores import DeadLetterStores
    from fleetgw.app.config.sections import Config
    from fleetgw.app.pipeline.lane import Lane
    from fleetgw.app.pipeline.spooling import Spooling
    from fleetgw.domain.ports import ILog


def make_controls(
    config: Config,
    spooling: Spooling | None,
    dead_letters: DeadLetterStores | None,
    lanes: Callable[[], Mapping[str, Lane]],
    reactor: IControlReactor,
    log: ILog,
) -> list[ControlServer]:
    """Make the control sockets in the folders of the spool and of the dead letters, as far as there are any.

    :param lanes: gives those of all sinks, by name.
    """
    if spooling is None and dead_letters is None:
        return []
    from fleetgw.adapters.control.server import ControlServer
    from fleetgw.app.service.dead_letter_commands import DeadLetterCommands
    from fleetgw.app.service.spool_commands import SpoolCommands

    controls = []
    if spooling is not None and config.spool is not None:
        controls.append(ControlServer(str(config.spool.path), SpoolCommands(spooling.spool, lanes).by_name, reactor, log))
    if dead_letters is not None:
        commands = DeadLetterCommands(dead_letters.sinks, lanes).by_name
        controls.append(ControlServer(dead_letters.path, commands, reactor, log))
    return controls
