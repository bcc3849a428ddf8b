"""How long to wait between attempts."""

from attrs import define


@define
class Backoff:
    """Growing pauses between attempts: doubled each time up to a maximum, each shortened by up to half at random.

    :ivar initial_s: the first pause, seconds.
    :ivar max_s: the longest, seconds.
    """

    initial_s: float
    max_s: float
    failures: int = 0

    def failed(self, chance: float, *, counts: bool = True) -> float:
        """Seconds to wait before the next attempt.

        :param chance: a random number in [0, 1).
        :param counts: the next pause is to be longer.
        """
        pause = min(self.max_s, self.initial_s * 2.0 ** min(self.failures, 30))
        self.failures += counts
        return pause * (1 - chance / 2)

    def succeeded(self) -> None:
        """Start over."""
        self.failures = 0
