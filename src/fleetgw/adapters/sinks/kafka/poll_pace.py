"""Times the polls for librdkafka's delivery reports, which do not wake the reactor."""

POLL_SHORTEST_S = 0.001
POLL_LONGEST_S = 0.005

_EARLIER = 7 / 8  # only polls that are too early at times reveal that reports take less time, or that timers are late
_WEIGHT = 1 / 2  # of the last reports in the moving average
_USUAL_LONGEST_S = 0.1  # the waits of an outage must not count for the time after it


class PollPace:
    """Adaptive polling: estimates how long reports take; a fixed interval polls too early or too late."""

    def __init__(self) -> None:
        self._usual_s = POLL_SHORTEST_S

    def learn(self, took_s: float, early_s: float) -> None:
        """Take into account how long the reports of a batch took; a poll has just fetched the last of them.

        :param took_s: seconds from the dispatch of the batch to this poll.
        :param early_s: seconds from the dispatch to the previous poll, which was too early; 0 or less when there was none.
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
        # polls for overdue reports become ever rarer
        return min(POLL_LONGEST_S, max(POLL_SHORTEST_S, abs(self._usual_s - waited_s)))
