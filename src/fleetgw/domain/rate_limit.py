"""A token bucket: so many records in so many seconds."""

from attrs import define, field


@define
class TokenBucket:
    """Allows bursts of ``limit`` records and ``limit`` records per ``interval_s`` seconds on average.

    :ivar limit: records, at least 1.
    :ivar interval_s: seconds, above 0.
    :ivar now: the monotonic time of creation in seconds; the bucket starts full.
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
