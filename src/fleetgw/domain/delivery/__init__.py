"""The delivery state of one sink's records: waiting, in flight, to be retried. Pure: takes the time as an argument."""
