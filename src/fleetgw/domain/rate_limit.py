"""The rate limit of a vehicle's records: token buckets. Pure: takes the time as an argument."""

from attrs import define, field


@define
class TokenBucket:
    """Allows bursts of ``limit`` records and ``limit`` records per ``interval_s`` seconds on average.

    :ivar limit: records, at least 1.
    :ivar interval_s: seconds, above 0.
    :ivar now: the monotonic time of creation in seconds, later of the last count; the bucket starts full.
    """

    limit: int
    interval_s: float
    now: float
    _tokens: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._tokens = float(self.limit)

    def take(self, now: float) -> bool:
        """Take one token at monotonic time ``now`` (seconds); False when none is left."""
        if now > self.now:
            self._tokens = min(self.limit, self._tokens + (now - self.now) * self.limit / self.interval_s)
            self.now = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def change(self, limit: int, interval_s: float, now: float) -> None:
        """Take another limit over. The tokens stay, as far as the bucket holds them; more come at the new rate."""
        tokens = min(self.limit, self._tokens + max(0.0, now - self.now) * self.limit / self.interval_s)
        self.limit, self.interval_s, self.now = limit, interval_s, max(now, self.now)
        self._tokens = min(limit, tokens)


MAX_IDLE_BUCKETS = 100_000
"""Largest number of disconnected vehicles whose buckets are kept until they would be full again."""


class VehicleBuckets:
    """One bucket for each vehicle, shared by its connections. A vehicle that reconnects gets its old bucket.

    :param limit: see ``TokenBucket``.
    :param interval_s: see ``TokenBucket``. A bucket that was idle for so long is full, and is forgotten.
    :param max_idle: see ``MAX_IDLE_BUCKETS``.
    """

    def __init__(self, limit: int, interval_s: float, max_idle: int = MAX_IDLE_BUCKETS) -> None:
        self._limit = limit
        self._interval_s = interval_s
        self._max_idle = max_idle
        self._changed_at = float("-inf")
        self._in_use: dict[str, TokenBucket] = {}
        self._idle: dict[str, tuple[float, TokenBucket]] = {}  # with the time of the disconnect, oldest first

    def __len__(self) -> int:
        return len(self._in_use) + len(self._idle)

    def of(self, vin: str, now: float) -> TokenBucket:
        """The bucket of a connected vehicle, to be looked up before each use. ``now`` is monotonic time in seconds."""
        bucket = self._in_use.get(vin)
        if bucket is None:
            self._forget(now)
            idle = self._idle.pop(vin, None)
            bucket = self._in_use[vin] = idle[1] if idle else TokenBucket(self._limit, self._interval_s, now)
        if bucket.limit != self._limit or bucket.interval_s != self._interval_s:
            bucket.change(self._limit, self._interval_s, self._changed_at)
        return bucket

    def change(self, limit: int, interval_s: float, now: float) -> None:
        """Change the limit. Each bucket takes it over at its next use, see ``TokenBucket.change``."""
        self._limit, self._interval_s, self._changed_at = limit, interval_s, now

    def leave(self, vin: str, now: float) -> None:
        """Count a bucket as idle: the vehicle's last connection has ended."""
        bucket = self._in_use.pop(vin, None)
        if bucket is not None:
            self._idle[vin] = now, bucket
        self._forget(now)

    def _forget(self, now: float) -> None:
        while self._idle:
            vin = next(iter(self._idle))
            if len(self._idle) <= self._max_idle and now - max(self._idle[vin][0], self._changed_at) < self._interval_s:
                return
            del self._idle[vin]
