"""The part of a sink that lanes do not use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.domain.ports import Readiness, Ready

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred


class LaneSink:
    """A sink for a lane, which starts and stops none; a subclass gives ``name`` and ``dispatch``."""

    def start(self) -> Deferred[None]:
        """A lane starts no sink."""
        raise NotImplementedError

    def stop(self) -> Deferred[None]:
        """A lane stops no sink."""
        raise NotImplementedError

    def readiness(self) -> Readiness:
        """Always ready."""
        return Ready()
