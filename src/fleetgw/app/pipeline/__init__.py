"""The pipeline: the way of a record from a vehicle's connection to the sinks, and of its acknowledgement back.

``gateway`` opens a ``session`` for each connection. The session offers records to the lanes of their ``routes``, and
acknowledges them; messages that make no record go to ``refusals``. A ``lane`` dispatches to its sink unless its
``circuit_breaker`` is open; records that no retry can deliver go to ``dead_letters``.
"""
