"""When to poll for librdkafka's delivery reports: nothing wakes the reactor for them."""

POLL_SHORTEST_S = 0.001
POLL_LONGEST_S = 0.005

_EARLIER = 7 / 8  # a poll that is never too early does not notice that reports take less, or that timers are late
_WEIGHT = 1 / 2  # of the last reports against all before
_USUAL_LONGEST_S = 0.1  # an outage teaches nothing about the time after it


class PollPace:
    """Adaptive polling: estimates how long reports take; a fixed interval polls too early or too late."""

    def __init__(self) -> None:
        self._usual_s = POLL_SHORTEST_S

    def heard(self, took_s: float, early_s: float) -> None:
        """A poll has found the last reports on a batch.

        :param took_s: seconds from the dispatch of the batch to this poll.
        :param early_s: seconds from the dispatch to the poll before, which was too early; 0 or less when there was none.
        """
        took_s = min(took_s, _USUAL_LONGEST_S)
        if early_s < self._usual_s:
            aim_s = max(early_s, min(took_s, self._usual_s) * _EARLIER)
        else:
            aim_s = (min(early_s, took_s) + took_s) / 2
        self._usual_s += (aim_s - self._usual_s) * _WEIGHT

    def pause_s(self, waited_s: float) -> float:
        """Seconds until the next poll.

        :param waited_s: seconds since the dispatch of the oldest batch without all its reports.
        """
        # overdue reports are polled for ever less often
        return min(POLL_LONGEST_S, max(POLL_SHORTEST_S, abs(self._usual_s - waited_s)))
