"""When to look for librdkafka's delivery reports: they come without a sign that wakes the reactor."""

POLL_SHORTEST_S = 0.001
POLL_LONGEST_S = 0.005

_EARLY_S = POLL_SHORTEST_S / 2  # as often too early as not: who never is does not notice that reports take less
_WEIGHT = 1 / 8  # of the last reports against all before
_USUAL_LONGEST_S = 0.1  # an outage teaches nothing about the time after it


class PollPace:
    """Learns how long reports take: a look at that time finds most of them, where a fixed pace looks in vain or too late."""

    def __init__(self) -> None:
        self._usual_s = POLL_SHORTEST_S

    def heard(self, took_s: float) -> None:
        """All reports on a batch have come, so long after it was handed over."""
        self._usual_s += (min(took_s, _USUAL_LONGEST_S) - _EARLY_S - self._usual_s) * _WEIGHT

    def pause_s(self, waited_s: float) -> float:
        """How long until the next look.

        :param waited_s: how long ago the oldest batch without all its reports was handed over.
        """
        # overdue reports are looked for ever less often
        return min(POLL_LONGEST_S, max(POLL_SHORTEST_S, abs(self._usual_s - waited_s)))
