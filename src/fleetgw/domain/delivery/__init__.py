"""The delivery state of one sink's records: waiting, in flight, to be retried. Pure: driven by calls, told the time."""
