"""The progress of a run: a bar on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from fleetgw.simulator.fleet import Fleet
    from fleetgw.simulator.tally import Tally


def describe(fleet: Fleet, tally: Tally, vehicles: int) -> str:
    """One line: the stage, numbers of connections and records, and the latest error while vehicles connect."""
    total = tally.total()
    line = f"{fleet.stage.value}: {tally.connected_now}/{vehicles} connected, {total.issued} issued, {total.acked} acked"
    if total.refused:
        line += f", {total.refused} refused"
    if tally.connected_now < vehicles and tally.endings:
        line += f" ({next(reversed(tally.endings))})"
    return line


class BarProgress:
    """A bar for a terminal; ``show`` it a few times a second."""

    interval_s = 0.2

    def __init__(self, stream: TextIO) -> None:
        console = Console(file=stream)
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        # rich refreshes in a thread, which would compete with the fleet
        self._bar = Progress(*columns, console=console, transient=True, auto_refresh=False)
        self._task: TaskID = self._bar.add_task("", total=None)
        self._bar.start()

    def show(self, line: str, done_fraction: float | None) -> None:
        """Draw the bar."""
        total = None if done_fraction is None else 1.0
        self._bar.update(self._task, description=line, completed=done_fraction or 0.0, total=total)
        self._bar.refresh()

    def close(self) -> None:
        """Remove the bar."""
        self._bar.stop()


class LineProgress:
    """Plain lines; ``show`` one every few seconds."""

    interval_s = 5.0

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def show(self, line: str, done_fraction: float | None) -> None:
        """Write a line."""
        share = "" if done_fraction is None else f"{done_fraction:4.0%} "
        print(f"{share}{line}", file=self._stream, flush=True)

    def close(self) -> None:
        """Do nothing: lines stay."""
