"""The limits of one sink's queue."""

from attrs import frozen

BATCH_BYTES = 1024 * 1024
"""Largest cost of the records in one batch: some 300 ordinary ones."""

VEHICLE_BYTES = 96 * 1024
"""Largest cost of one vehicle's records in the flow to a sink: records of other vehicles wait for no more of them.

That is about 30 ordinary records, or 550 signals. With 10 ms from hand-over to outcome, it is 50,000 signals a second.
"""


@frozen
class BacklogLimits:
    """The limits of one sink's queue. Bytes are the memory that records take (``Record.cost_bytes``).

    :ivar queue_records: records waiting and in flight together. The retry queue counts for each record type: of one type,
        at most so many records wait, are in flight or are in the retry queue.
    :ivar queue_bytes: the same in bytes.
    :ivar in_flight_records: records handed to the sink that have no outcome yet.
    :ivar batch_records: records in one batch.
    :ivar batch_bytes: the same in bytes; a larger record makes a batch of its own.
    :ivar vehicle_bytes: bytes of one vehicle's records waiting and in flight, while several vehicles are connected; a
        larger record is admitted alone.
    """

    queue_records: int
    queue_bytes: int
    in_flight_records: int
    batch_records: int
    batch_bytes: int = BATCH_BYTES
    vehicle_bytes: int = VEHICLE_BYTES
