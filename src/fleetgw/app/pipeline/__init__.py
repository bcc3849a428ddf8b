"""The pipeline: the way of a record from a vehicle's connection to the sinks, and of its acknowledgement back."""
