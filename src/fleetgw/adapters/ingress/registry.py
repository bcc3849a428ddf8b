"""The connections that there are: bounded in all, per address before the upgrade, and per vehicle after it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred, succeed

from fleetgw.adapters.listening.presence import Presence
from fleetgw.adapters.listening.refusals import Refusal

if TYPE_CHECKING:
    from fleetgw.adapters.ingress.limits import IngressLimits
    from fleetgw.adapters.listening.refusals import Refusals


class Member(Protocol):
    """A connection, to the registry. Compared by identity."""

    def __hash__(self) -> int: ...

    @property
    def remote(self) -> str:
        """``host:port`` of the peer."""

    def abort(self) -> None:
        """Close at once."""


MemberT = TypeVar("MemberT", bound=Member)


class ConnectionRegistry(Generic[MemberT]):
    """Counts connections, and refuses those beyond a limit.

    :ivar connections: all of them.
    :ivar open_connections: the number of those that have finished their upgrade.
    """

    def __init__(self, limits: IngressLimits, refusals: Refusals) -> None:
        self.connections: set[MemberT] = set()
        self.open_connections = 0
        self._limits = limits
        self._refusals = refusals
        self._half_open: Presence[MemberT] = Presence(limits.max_half_open, limits.max_half_open_per_address)
        self._per_vehicle: Counter[str] = Counter()
        self._awaiting_end: list[Deferred[None]] = []

    def has_room(self) -> bool:
        """Whether a further socket may be accepted; makes room where few addresses hold much of it."""
        if self._half_open.is_full:
            for connection in self._half_open.make_room():
                self._refusals.add(Refusal.CROWDED_OUT, connection.remote)
                connection.abort()
        return not self._half_open.is_full

    def takes_socket(self, host: str) -> bool:
        """Whether a new socket of ``host`` may become a connection; counts a refusal."""
        if self._half_open.is_full_for(host):
            self._refusals.add(Refusal.FULL_ADDRESS, host)
        elif not self.has_room():
            self._refusals.add(Refusal.FULL_HALF_OPEN, host)
        else:
            return True
        return False

    def takes_upgrade(self, remote: str) -> bool:
        """Whether a further connection may finish its upgrade; counts a refusal."""
        if 0 < self._limits.max_connections <= self.open_connections:
            self._refusals.add(Refusal.FULL, remote)
            return False
        return True

    def takes_upgrade_of(self, vin: str, remote: str) -> bool:
        """Whether a further connection of this vehicle may finish its upgrade; counts a refusal."""
        if 0 < self._limits.max_connections_per_vehicle <= self._per_vehicle[vin]:
            self._refusals.add(Refusal.FULL_VEHICLE, remote, vin)
            return False
        return True

    def unauthorized(self) -> None:
        """Count an upgrade that was refused for its certificate."""
        self._refusals.count(Refusal.UNAUTHORIZED)

    def made(self, connection: MemberT, host: str) -> None:
        """A socket is there; TLS and upgrade are to come."""
        self.connections.add(connection)
        self._half_open.add(connection, host)

    def opened(self, connection: MemberT, vin: str) -> None:
        """A connection has finished its upgrade."""
        self._half_open.remove(connection)
        self.open_connections += 1
        self._per_vehicle[vin] += 1

    def closed(self, vin: str) -> None:
        """A connection that had finished its upgrade has ended; to be followed by ``lost``."""
        self.open_connections -= 1
        self._per_vehicle[vin] -= 1
        if not self._per_vehicle[vin]:
            del self._per_vehicle[vin]

    def lost(self, connection: MemberT) -> None:
        """A connection has ended."""
        self.connections.discard(connection)
        self._half_open.remove(connection)
        if not self.connections:
            waiting, self._awaiting_end = self._awaiting_end, []
            for waiter in waiting:
                waiter.callback(None)

    def all_gone(self) -> Deferred[None]:
        """Fires once there is no connection. Cancelling it changes nothing."""
        if not self.connections:
            return succeed(None)
        waiter: Deferred[None] = Deferred(self._awaiting_end.remove)
        self._awaiting_end.append(waiter)
        return waiter
