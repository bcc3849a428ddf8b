"""Adaptive batching: an estimate of the records that the next batch is worth lingering for."""

from attrs import define


@define
class BatchEstimate:
    """Estimates the size of the next batch.

    A vehicle that waits for acknowledgements sends its next records when they arrive. So as many records are expected as
    have been confirmed since the last batch left.

    :ivar records: the number of records expected to wait together; 0 when none are expected.
    """

    records: int = 0

    def confirmed(self, count: int, waiting: int) -> None:
        """Expect as many records as were confirmed.

        :param count: records that were confirmed, and whose vehicles waited for it.
        :param waiting: records that wait at that time.
        """
        self.records = max(self.records, waiting) + count

    def reset(self) -> None:
        """Start over: a batch has left."""
        self.records = 0
