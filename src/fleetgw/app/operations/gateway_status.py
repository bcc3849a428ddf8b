"""The ``gateway_status`` records: the gateway's own figures, on the way of every other record."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from attrs import define, field

from fleetgw.domain.gateway_status import GATEWAY_STATUS
from fleetgw.domain.line_limit import LineLimit
from fleetgw.domain.records import PeerIdentity, Vehicle

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

    from fleetgw.app.pipeline.context import SessionContext
    from fleetgw.domain.gateway_status import GatewayStatus
    from fleetgw.domain.ports import ILog

INTERVAL_S = 30.0


@define(eq=False)
class StatusRecords:
    """Makes the records, while the type has a route.

    Its sender is the gateway: the client type is ``gateway``, the VIN is the host's name with ``-`` for each ``.``, as in a
    certificate's device id, and the connection id is a UUID of the process. So the records of one gateway keep their order.

    :ivar status: returns the figures now.
    :ivar wall_ns: epoch nanoseconds.
    :ivar host: the name of the machine.
    :ivar is_serving: returns False once the gateway begins to stop: its queues end.
    """

    sessions: SessionContext
    status: Callable[[], GatewayStatus]
    clock: IReactorTime
    wall_ns: Callable[[], int]
    log: ILog
    host: str
    is_serving: Callable[[], bool]
    _gateway: Vehicle = field(init=False)
    _made: int = field(default=0, init=False)
    _lines: LineLimit = field(factory=LineLimit, init=False)

    def __attrs_post_init__(self) -> None:
        identity = PeerIdentity("gateway", self.host.replace(".", "-") or "gateway")
        self._gateway = Vehicle(identity, identity.device_id, str(uuid4()))

    def make(self) -> None:
        """Make a record. Call it every ``INTERVAL_S``; the first one comes when sinks are started."""
        route = self.sessions.routes.find(GATEWAY_STATUS.encode())
        if route is None or not self.is_serving():
            return
        self._made += 1
        txid = f"{self._gateway.connection_id}-{self._made}"
        record = self.sessions.codec.gateway_status(self._gateway, self.status(), txid, self.wall_ns())
        for dispatcher in route.offer_own(record):
            if self._lines.admit("dropped", dispatcher, self.clock.seconds(), 1) is not None:
                self.log.error("gateway_status_dropped", dispatcher=dispatcher)
