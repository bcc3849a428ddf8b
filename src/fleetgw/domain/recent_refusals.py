"""The recent refusals: what the gateway has refused last, with reasons, for people."""

from collections.abc import Callable, Sequence
from enum import StrEnum

from attrs import define, field, frozen

MAX_REFUSALS = 200
"""Largest number of refusals that are kept."""


class RefusalKind(StrEnum):
    """The thing that was refused: a TLS handshake, a connection without an identity, a vehicle, or one message of it."""

    HANDSHAKE = "handshake"
    CONNECTION = "connection"
    VEHICLE = "vehicle"
    MESSAGE = "message"


@frozen
class Refused:
    """One refusal, or several alike.

    :ivar at_ms: epoch milliseconds of the last one.
    :ivar reason: one of a bounded set, as in the label of the metric that counts it.
    :ivar text: the reason as a sentence; may hold text from the peer, of bounded length.
    :ivar fix: the remedy, empty where none is needed.
    :ivar address: ``host:port`` of the peer, empty where it is not known.
    :ivar vin: empty where it is not known.
    :ivar issuer: of the peer's certificate, empty where it is not known.
    :ivar not_after_ms: the end of the certificate's validity in epoch milliseconds; None where it is not known.
    :ivar times: number of refusals of this reason and peer, without a gap of ``MAX_REFUSALS`` others.
    """

    at_ms: int
    kind: RefusalKind
    reason: str
    text: str
    fix: str
    address: str
    vin: str
    issuer: str
    not_after_ms: int | None
    times: int


@define(eq=False)
class RecentRefusals:
    """Keeps the last refusals. Those of one peer for one reason share an entry: one peer does not displace others.

    :ivar wall_ns: epoch nanoseconds.
    """

    wall_ns: Callable[[], int]
    _refused: dict[tuple[str, ...], Refused] = field(factory=dict, init=False)

    def add(
        self,
        kind: RefusalKind,
        reason: str,
        text: str,
        *,
        fix: str = "",
        address: str = "",
        vin: str = "",
        issuer: str = "",
        not_after_ms: int | None = None,
    ) -> None:
        """Keep a refusal; arguments as for ``Refused``."""
        key = kind, reason, vin or address.rpartition(":")[0]
        earlier = self._refused.pop(key, None)
        times = 1 if earlier is None else earlier.times + 1
        now_ms = self.wall_ns() // 1_000_000
        self._refused[key] = Refused(now_ms, kind, reason, text, fix, address, vin, issuer, not_after_ms, times)
        if len(self._refused) > MAX_REFUSALS:
            del self._refused[next(iter(self._refused))]

    @property
    def newest_first(self) -> Sequence[Refused]:
        """All refusals that are kept."""
        return [*reversed(self._refused.values())]
