"""How many records are worth waiting for: who waits for acknowledgements sends the next records when they come."""

from attrs import define


@define
class Expectation:
    """How many records will wait together once vehicles have sent as many again as were confirmed.

    :ivar records: 0 when nothing is to be expected.
    """

    records: int = 0

    def confirmed(self, count: int, waiting: int) -> None:
        """``count`` records were confirmed to those who waited for it, while ``waiting`` others were waiting."""
        self.records = max(self.records, waiting) + count

    def left(self) -> None:
        """What waited has left: start over."""
        self.records = 0
