"""A gateway in memory with its traces, and vehicles."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from tests.support.client_certificates import client_certificate, root_authority
from tests.support.gateway_in_memory import VIN, GatewayCase, GatewayInMemory
from tests.support.raw_vehicle import RawClientTls, RawVehicle

if TYPE_CHECKING:
    from fleetgw.app.operations.traces import Traces
    from fleetgw.simulator.certificates import Credential

OTHER_VIN = "5YJ3E1EA7KF000002"
HOST = "127.0.0.1"


class TraceCase(GatewayCase):
    """A gateway whose traces and clock the test drives.

    :ivar authority: of the vehicles.
    :ivar now_ms: the wall clock of the traces.
    """

    authority: Credential

    def setUp(self) -> None:
        """Make the authority."""
        super().setUp()
        self.authority = root_authority("TeslaMotors")
        self.now_ms = 1_800_000_000_000

    def start(self, environ: Any = None, **config: Any) -> GatewayInMemory:
        """Start the gateway with these keys of the configuration."""
        with patch.object(time, "time_ns", lambda: self.now_ms * 1_000_000):
            gateway = super().start(environ, authority=self.authority, **({"records": {"custom": ["memory"]}} | config))
        self.traces: Traces = gateway.parts.traces
        self.traces._wall_ns = lambda: self.now_ms * 1_000_000
        self.traces.start()
        gateway.clock.advance(0)
        return gateway

    def advance(self, seconds: float) -> None:
        """Time passes."""
        self.now_ms += int(seconds * 1000)
        self.gateway.clock.advance(seconds)

    def begin(self, for_s: float = 3600, **whom: str) -> str:
        """Begin or join a trace; returns its id."""
        shown, _ = self.traces.begin({"for_s": for_s, **whom})
        return str(shown["id"])

    def lines(self, number: str, first: int = 1) -> list[dict[str, Any]]:
        """The lines of a trace."""
        answers: list[bytes] = []
        self.traces.read(number, str(first)).addCallback(answers.append)
        self.gateway.clock.advance(0)
        return [json.loads(line) for line in answers[0].splitlines()]

    def stages(self, number: str) -> list[str]:
        """The names of the stages of a trace."""
        return [line["stage"] for line in self.lines(number)]

    def vehicle(self, vin: str = VIN) -> RawVehicle:
        """A connection that has sent nothing."""
        return self.gateway.connect(RawClientTls(client_certificate(self.authority, vin)))
