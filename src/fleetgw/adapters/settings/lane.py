"""Settings of one sink's lane that override the general ones."""

from typing import Annotated

from msgspec import Meta

from fleetgw.adapters.settings.values import Pause, Positive, Seconds, Settings


class LaneOverride(Settings, frozen=True, kw_only=True):
    """Overrides of `delivery` for one sink."""

    queue_records: Annotated[Positive | None, Meta(description="As in `delivery`.")] = None
    queue_bytes: Annotated[Positive | None, Meta(description="As in `delivery`.")] = None
    in_flight_records: Annotated[Positive | None, Meta(description="As in `delivery`.")] = None
    batch_records: Annotated[Positive | None, Meta(description="As in `delivery`.")] = None
    gather_ms: Annotated[Seconds | None, Meta(description="As in `delivery`.")] = None
    retry_initial_s: Annotated[Pause | None, Meta(description="As in `delivery`.")] = None
    retry_max_s: Annotated[Seconds | None, Meta(description="As in `delivery`.")] = None
    drain_timeout_s: Annotated[Seconds | None, Meta(description="As in `delivery`.")] = None


NO_OVERRIDE = LaneOverride()
"""The lane of a sink without settings of its own."""
