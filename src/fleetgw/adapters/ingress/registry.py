"""Registry of connections: bounded in total, per address before the upgrade, and per vehicle after it."""

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
    """A connection as the registry sees it. Compared by identity."""

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
    :ivar open_connections: number of upgraded connections.
    """

    def __init__(self, limits: IngressLimits, refusals: Refusals) -> None:
        self.connections: set[MemberT] = set()
        self.open_connections = 0
        self._limits = limits
        self._refusals = refusals
        self._half_open: Presence[MemberT] = Presence(limits.max_half_open, limits.max_half_open_per_address)
        self._per_vehicle: Counter[str] = Counter()
        self._end_waiters: list[Deferred[None]] = []

    def limit(self, limits: IngressLimits) -> None:
        """Replace the limits; connections beyond them stay."""
        self._limits = limits
        self._half_open.limit, self._half_open.limit_per_address = limits.max_half_open, limits.max_half_open_per_address

    def has_room(self) -> bool:
        """Whether a further socket may be accepted; closes connections of addresses that have too many to make room."""
        if self._half_open.is_full:
            for connection in self._half_open.make_room():
                self._refusals.add(Refusal.CROWDED_OUT, connection.remote)
                connection.abort()
        return not self._half_open.is_full

    def allows_socket(self, host: str) -> bool:
        """Whether a new socket of ``host`` is allowed; counts a refusal."""
        if self._half_open.is_full_for(host):
            self._refusals.add(Refusal.FULL_ADDRESS, host)
        elif not self.has_room():
            self._refusals.add(Refusal.FULL_HALF_OPEN, host)
        else:
            return True
        return False

    def allows_upgrade(self, remote: str) -> bool:
        """Whether a further upgrade is allowed; counts a refusal."""
        if 0 < self._limits.max_connections <= self.open_connections:
            self._refusals.add(Refusal.FULL, remote)
            return False
        return True

    def allows_upgrade_of(self, vin: str, remote: str) -> bool:
        """Whether a further upgrade of this vehicle is allowed; counts a refusal."""
        if 0 < self._limits.max_connections_per_vehicle <= self._per_vehicle[vin]:
            self._refusals.add(Refusal.FULL_VEHICLE, remote, vin)
            return False
        return True

    def not_allowed(self, vin: str, remote: str) -> None:
        """Count and log an upgrade that the allow list refuses."""
        self._refusals.add(Refusal.NOT_ALLOWED, remote, vin)

    def no_allow_list(self, vin: str, remote: str, reason: str) -> None:
        """Count and log an upgrade that no allow list can decide on, for a reason."""
        self._refusals.add(Refusal.NO_ALLOW_LIST, remote, vin, reason)

    def unauthorized(self, remote: str, reason: str) -> None:
        """Count an upgrade that was refused because of its certificate."""
        self._refusals.count(Refusal.UNAUTHORIZED, remote, reason)

    def made(self, connection: MemberT, host: str) -> None:
        """Add a new connection, before its TLS handshake."""
        self.connections.add(connection)
        self._half_open.add(connection, host)

    def opened(self, connection: MemberT, vin: str) -> None:
        """Count a connection as upgraded."""
        self._half_open.remove(connection)
        self.open_connections += 1
        self._per_vehicle[vin] += 1

    def closed(self, vin: str) -> None:
        """Count an upgraded connection as ended; ``lost`` follows."""
        self.open_connections -= 1
        self._per_vehicle[vin] -= 1
        if not self._per_vehicle[vin]:
            del self._per_vehicle[vin]

    def lost(self, connection: MemberT) -> None:
        """Remove a connection that has ended."""
        self.connections.discard(connection)
        self._half_open.remove(connection)
        if not self.connections:
            waiters, self._end_waiters = self._end_waiters, []
            for waiter in waiters:
                waiter.callback(None)

    def all_gone(self) -> Deferred[None]:
        """Fires once there is no connection. Cancelling it has no effect on the connections."""
        if not self.connections:
            return succeed(None)
        waiter: Deferred[None] = Deferred(self._end_waiters.remove)
        self._end_waiters.append(waiter)
        return waiter
