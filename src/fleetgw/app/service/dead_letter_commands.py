"""The commands of the control socket in the folder of dead letters."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from attrs import asdict

from fleetgw.adapters.control.server import CommandError
from fleetgw.adapters.dead_letters.purging import purge
from fleetgw.adapters.settings.spelling import did_you_mean
from fleetgw.app.pipeline.redrive import Redrive
from fleetgw.domain.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from fleetgw.adapters.control.server import Command
    from fleetgw.app.pipeline.lane import Lane
    from fleetgw.app.pipeline.redrive import Redriven
    from fleetgw.domain.ports import IDeadLetters


class DeadLetterCommands:
    """``redrive`` and ``purge``.

    :param letters: by sink name.
    :param lanes: gives those of all sinks that records are routed to, by name.
    """

    def __init__(self, letters: Mapping[str, IDeadLetters], lanes: Callable[[], Mapping[str, Lane]]) -> None:
        self._letters = letters
        self._lanes = lanes
        self._redrives: dict[str, Redrive] = {}

    @property
    def by_name(self) -> Mapping[str, Command]:
        """For ``ControlServer``."""
        return {"redrive": self.redrive, "purge": self.purge}

    async def redrive(self, request: Mapping[str, object], progress: Callable[[object], None]) -> object:
        """Offer letters to their sinks again.

        :param request: ``letters``: sink name to positions, or to null for all letters of the sink; null for all sinks.
        :return: numbers of letters by sink, see ``Redriven``.
        :raises CommandError: a sink has no letters or no route, or its letters are being redriven; nothing was done. Or the
            storage has failed.
        """
        chosen = self._chosen(request)
        lanes = self._lanes()
        if request.get("letters") is None:
            chosen = {sink: None for sink in chosen if sink in lanes}
        for sink in chosen:
            if sink not in lanes:
                raise CommandError(f"no records are routed to {sink}: route a record type to it, or purge its letters")
            redrive = self._redrives.get(sink)
            if redrive is None or redrive.lane is not lanes[sink]:
                self._redrives[sink] = Redrive(self._letters[sink], lanes[sink])
            elif redrive.is_busy:
                raise CommandError(f"letters of {sink} are being redriven: wait until its queue has settled them")
        report: dict[str, object] = {}
        for sink, positions in chosen.items():
            try:
                redriven = await self._redrives[sink].run(positions, partial(_report, progress, sink))
            except StorageError as error:
                raise CommandError(f"{sink}: {error}") from error
            report[sink] = asdict(redriven)
        return report

    async def purge(self, request: Mapping[str, object], progress: Callable[[object], None]) -> object:
        """Remove letters for good.

        :param request: ``letters`` as for ``redrive``; ``before_ms``: only older ones, epoch milliseconds, or null.
        :return: number of letters by sink.
        :raises CommandError: a sink has no letters; nothing was done. Or the storage has failed.
        """
        before_ms = request.get("before_ms")
        if not isinstance(before_ms, int | None):
            raise CommandError("before_ms must be a number")
        report: dict[str, int] = {}
        for sink, positions in self._chosen(request).items():
            try:
                report[sink] = await purge(self._letters[sink], positions, before_ms)
            except StorageError as error:
                raise CommandError(f"{sink}: {error}") from error
            progress(report)
        return report

    def _chosen(self, request: Mapping[str, object]) -> dict[str, Collection[int] | None]:
        """The letters that a request names."""
        match request.get("letters"):
            case None:
                return dict.fromkeys(sink for sink, letters in self._letters.items() if letters.next_position > 1)
            case dict() as named:
                for sink in named:
                    if sink not in self._letters:
                        what = f'there are no dead letters of a sink "{sink}"'
                        raise CommandError(f"{what}; {did_you_mean(sink, self._letters)}")
                return {sink: None if positions is None else frozenset(positions) for sink, positions in named.items()}
            case _:
                raise CommandError("letters must be an object")


def _report(progress: Callable[[object], None], sink: str, redriven: Redriven) -> None:
    progress({sink: asdict(redriven)})
