"""Backoff: the growing pauses between attempts."""

from attrs import define


@define
class Backoff:
    """Exponential backoff with jitter: pauses double up to a maximum, and each is shortened by up to half at random.

    :ivar initial_s: the first pause in seconds.
    :ivar max_s: the longest pause in seconds.
    :ivar failures: number of failures since the last success.
    """

    initial_s: float
    max_s: float
    failures: int = 0

    def failed(self, chance: float, *, counts: bool = True) -> float:
        """Count a failed attempt; returns the seconds until the next one.

        :param chance: a random number in [0, 1), for the jitter.
        :param counts: whether the next pause is to be longer.
        """
        pause = min(self.max_s, self.initial_s * 2.0 ** min(self.failures, 30))
        self.failures += counts
        return pause * (1 - chance / 2)

    def succeeded(self) -> None:
        """Start over."""
        self.failures = 0
