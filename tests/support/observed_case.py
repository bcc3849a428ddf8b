"""A gateway in memory with all that operators observe of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from fleetgw.app.operations.kept_counts import KeptCounts
from fleetgw.app.operations.observation import observe
from fleetgw.app.operations.overview import Overview
from fleetgw.app.operations.sampling import Sampling
from fleetgw.domain.metrics import LANE_CAPACITY_RECORDS, SPOOL_MAX_BYTES, SPOOL_SIZE_BYTES
from fleetgw.domain.ports import IStreamReader
from tests.support.session_case import NOW_NS, SessionCase
from tests.support.workers import InlineWorker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetgw.app.operations.health import HealthView
    from fleetgw.app.pipeline.session import Session


class StubHealth:
    """The answers of a gateway's health.

    :ivar state: of the gateway.
    """

    state = "ok"

    def __init__(self, sinks: Sequence[str]) -> None:
        told = {"state": "ready", "since_ms": 1, "reason": None, "fix": None, "types": ["V"]}
        self._sinks = [{"name": name, **told} for name in sinks]

    def verbose(self) -> HealthView:
        """See ``GatewayHealth``."""
        return {
            "state": self.state,
            "since_ms": 1,
            "reasons": [] if self.state == "ok" else [{"reason": "kafka is down", "fix": "start it"}],
            "now_ms": NOW_NS // 1_000_000,
            "sinks": self._sinks,
            "spool": None,
            "certificates": [{"name": "tls.server_cert", "state": "ok"}],
        }


@implementer(IStreamReader)
class Reader:
    """A client of a stream.

    :ivar room: number of further chunks that it takes.
    """

    def __init__(self, room: int = 1_000_000) -> None:
        self.chunks: list[bytes] = []
        self.room = room
        self.has_ended = False

    def write(self, chunk: bytes) -> bool:
        """Take a chunk, if there is room."""
        if not self.room:
            return False
        self.room -= 1
        self.chunks.append(chunk)
        return True

    def end(self) -> None:
        """See ``IStreamReader``."""
        self.has_ended = True

    @property
    def values(self) -> list[dict[str, object]]:
        """The JSON values so far, of lines or of events."""
        return [json.loads(chunk.removeprefix(b"data: ")) for chunk in self.chunks]


class ObservedCase(SessionCase):
    """A gateway whose views tick once a second."""

    def observed(self, **how: Any) -> Session:  # as ``session`` takes it
        """Make the gateway as ``session`` does, and its views; a vehicle is connected."""
        session = self.session(**how)
        for name, room in self.room.items():
            self.metrics.gauge(LANE_CAPACITY_RECORDS, dispatcher=name).set_to(room)
        if self.spooling is not None:
            self.metrics.gauge(SPOOL_SIZE_BYTES).measured_by(lambda: self.spool.state().size_bytes)
            self.metrics.gauge(SPOOL_MAX_BYTES).set_to(1_000_000)
        sampling = Sampling(self.metrics, self.clock.seconds, lambda: len(self.gateway.sessions.connected.known.connected))
        self.health = StubHealth([*self.lanes])
        self.overview = Overview(
            "1.2.3",
            "gw-1.example.com",
            "c",
            self.gateway.sessions,
            sampling,
            self.metrics,
            self.health.verbose,
            lambda: NOW_NS,
        )
        counts = self.gateway.sessions.signal_metrics.counts
        reactor: Any = self.clock  # without a folder, no thread is used
        kept = KeptCounts(counts, None, reactor, lambda: NOW_NS, self.log, InlineWorker)
        self.views = observe(self.gateway, sampling, self.overview, kept, self.clock)
        self.views.ticking.start()
        self.addCleanup(self.views.ticking.stop)
        return session
