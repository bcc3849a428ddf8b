"""A pipelined connection, as the reactor's thread sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetgw.adapters.sinks.redis.parts import Part
    from fleetgw.domain.ports import Readiness


class Pipe(Protocol):
    """A connection to the server that its connector chooses, made again after every loss.

    Results, and changes of its state, go to its ``PipeListener``.
    """

    def start(self) -> None:
        """Begin to connect."""

    def submit(self, part: Part) -> None:
        """Publish the records of a part, after those of earlier parts. They fail while there is no connection."""

    def quit(self) -> None:
        """Close the connection; records in flight fail."""


class PipeListener(Protocol):
    """Receives the events of pipes, on the pipes' threads."""

    def parts_settled(self, parts: Sequence[Part]) -> None:
        """Every record of these parts has a result."""

    def pipe_changed(self, pipe: Pipe, readiness: Readiness) -> None:
        """The connection is open, or lost."""

    def pipe_closed(self, pipe: Pipe) -> None:
        """The pipe has ended."""
