"""The section ``drain``."""

from typing import Annotated

from msgspec import Meta

from fleetgw.adapters.settings.values import Natural, Seconds, Settings

PACED_BY = 0.7
"""Deadline of closing at ``rate_per_s``, as a share of the time for stopping."""


class Drain(Settings, frozen=True, kw_only=True):
    """The stop of the gateway, before `delivery.drain_timeout_s` is over and the sinks stop."""

    wait_s: Annotated[
        Seconds,
        Meta(
            description="Seconds that the gateway serves on while `/status` answers 503, so that a load balancer sends no "
            "more vehicles. `delivery.drain_timeout_s` begins after them."
        ),
    ] = 0.0
    rate_per_s: Annotated[
        Natural,
        Meta(
            description="Vehicles closed in a second, so that a fleet does not reconnect at once; 0: all together. Those "
            "left after seven tenths of `delivery.drain_timeout_s` are closed together."
        ),
    ] = 500
