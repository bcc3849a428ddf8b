"""The commands of the control socket in the folder of the spool."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from attrs import asdict

from fleetgw.adapters.control.server import CommandError
from fleetgw.adapters.settings.spelling import did_you_mean
from fleetgw.app.pipeline.replay import Replay
from fleetgw.domain.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fleetgw.adapters.control.server import Command
    from fleetgw.app.pipeline.lane import Lane
    from fleetgw.app.pipeline.replay import Replayed
    from fleetgw.domain.ports import ISpool


class SpoolCommands:
    """``state`` and ``replay``.

    :param lanes: gives those of all sinks that records are routed to, by name.
    """

    def __init__(self, spool: ISpool, lanes: Callable[[], Mapping[str, Lane]]) -> None:
        self._spool = spool
        self._lanes = lanes
        self._replays: dict[str, Replay] = {}

    @property
    def by_name(self) -> Mapping[str, Command]:
        """For ``ControlServer``."""
        return {"state": self.state, "replay": self.replay}

    async def state(self, _request: Mapping[str, object], _progress: Callable[[object], None]) -> object:
        """The spool as the gateway knows it: ``SpoolState``, and ``cursors`` by sink."""
        return asdict(self._spool.state()) | {"cursors": dict(self._spool.cursors)}

    async def replay(self, request: Mapping[str, object], progress: Callable[[object], None]) -> object:
        """Deliver records again that the spool still holds.

        :param request: ``sink``: its name, or null for all; ``since_ms``: when they were received; ``position``: where to
            begin to look for them.
        :return: numbers of records by sink, see ``Replayed``.
        :raises CommandError: there is no such sink, or records are being replayed to it; nothing was done. Or the spool
            cannot be read.
        """
        match request:
            case {"sink": str() | None as sink, "since_ms": int() as since_ms, "position": int() as position}:
                pass
            case _:
                raise CommandError("a replay needs a sink, since_ms and a position")
        lanes = self._lanes()
        fed = [each for each in self._spool.cursors if each in lanes]
        if sink is not None and sink not in fed:
            raise CommandError(f'no spooled records go to a sink "{sink}"; {did_you_mean(sink, fed)}')
        chosen = fed if sink is None else [sink]
        for each in chosen:
            replay = self._replays.get(each)
            if replay is None or replay.lane is not lanes[each]:
                self._replays[each] = Replay(self._spool, lanes[each])
            elif replay.is_busy:
                raise CommandError(f"records are being replayed to {each}: wait until its queue has settled them")
        report: dict[str, object] = {}
        for each in chosen:
            try:
                replayed = await self._replays[each].run(position, since_ms, partial(_report, progress, each))
            except StorageError as error:
                raise CommandError(f"{each}: {error}") from error
            report[each] = asdict(replayed)
        return report


def _report(progress: Callable[[object], None], sink: str, replayed: Replayed) -> None:
    progress({sink: asdict(replayed)})
