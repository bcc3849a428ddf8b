"""The longest wait of tests for other processes, threads and sockets."""

DEADLINE_S = 300.0
"""Only a hang reaches it, however busy the machine is."""
