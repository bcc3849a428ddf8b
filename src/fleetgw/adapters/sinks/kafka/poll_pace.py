"""When to look for librdkafka's delivery reports: they come without a sign that wakes the reactor."""

POLL_SHORTEST_S = 0.001
POLL_LONGEST_S = 0.005

_EARLIER = 7 / 8  # who is never too early does not notice that reports take less, or that timers are late
_WEIGHT = 1 / 2  # of the last reports against all before
_USUAL_LONGEST_S = 0.1  # an outage teaches nothing about the time after it


class PollPace:
    """Adaptive polling: estimates how long reports take. A fixed interval polls too early or too late."""

    def __init__(self) -> None:
        self._usual_s = POLL_SHORTEST_S

    def heard(self, took_s: float, in_vain_s: float) -> None:
        """A look has found the last reports on a batch.

        :param took_s: how long that was after the batch had been handed over.
        :param in_vain_s: how long after it the look before that was; 0 or less when there was none.
        """
        took_s = min(took_s, _USUAL_LONGEST_S)
        if in_vain_s < self._usual_s:
            aim_s = max(in_vain_s, min(took_s, self._usual_s) * _EARLIER)
        else:
            aim_s = (min(in_vain_s, took_s) + took_s) / 2
        self._usual_s += (aim_s - self._usual_s) * _WEIGHT

    def pause_s(self, waited_s: float) -> float:
        """How long until the next look.

        :param waited_s: how long ago the oldest batch without all its reports was handed over.
        """
        # overdue reports are looked for ever less often
        return min(POLL_LONGEST_S, max(POLL_SHORTEST_S, abs(self._usual_s - waited_s)))
