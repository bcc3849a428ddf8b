"""Tests. Hypothesis takes no time into account: that of an example depends on the load of the machine."""

import signal

from hypothesis import HealthCheck, settings

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# a shell lets its background jobs ignore SIGINT: a command that a test starts would inherit that, and Ctrl-C not end it
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
