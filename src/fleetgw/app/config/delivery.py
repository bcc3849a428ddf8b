"""The section ``delivery``."""

from typing import Annotated

from msgspec import Meta

from fleetgw.adapters.settings.lane import NO_OVERRIDE, LaneOverride
from fleetgw.adapters.settings.values import Pause, Positive, Seconds, Settings
from fleetgw.app.config.on_reload import NEW_SINKS


class LaneSettings(Settings, frozen=True, kw_only=True):
    """The queue before one sink."""

    queue_records: Positive
    queue_bytes: Positive
    in_flight_records: Positive
    batch_records: Positive
    gather_ms: Seconds
    retry_initial_s: Pause
    retry_max_s: Seconds
    drain_timeout_s: Seconds


class Delivery(Settings, frozen=True, kw_only=True):
    """The bounded queue before each sink. A record that finds it full is not acknowledged; the vehicle resends it."""

    queue_records: Annotated[
        Positive,
        Meta(description="Records a sink may hold, waiting and in flight; the retry queue counts per record type."),
    ] = 100_000
    queue_bytes: Annotated[
        Positive, Meta(description="Bytes of memory that a sink's records may take, counted likewise.")
    ] = 268_435_456
    in_flight_records: Annotated[Positive, Meta(description="Records handed to the sink and not yet confirmed.")] = 20_000
    batch_records: Annotated[Positive, Meta(description="Records in one batch.")] = 2_000
    gather_ms: Annotated[
        Seconds, Meta(description="Milliseconds to gather a batch, at most; 0: one turn of the reactor.")
    ] = 5.0
    retry_initial_s: Annotated[Pause, Meta(description="Seconds before the first retry; doubled each time.")] = 0.5
    retry_max_s: Annotated[Seconds, Meta(description="Seconds between retries, at most.")] = 30.0
    drain_timeout_s: Annotated[Seconds, Meta(description="Seconds to settle what is held when the gateway stops.")] = 10.0
    memory_mib: Annotated[
        Positive | None,
        Meta(
            description="MiB of memory that the queues of all sinks may take together; left out: half of what the container "
            "may use, or the machine has."
        ),
    ] = None
    sinks: Annotated[
        dict[str, LaneOverride], Meta(description="Sink name to the settings that differ for it.", extra=NEW_SINKS)
    ] = {}

    def lane(self, sink: str, of_its_type: LaneOverride = NO_OVERRIDE) -> LaneSettings:
        """The settings of one sink's queue: the sink's own override, else that of its type, else the general setting."""
        own = self.sinks.get(sink, NO_OVERRIDE)
        settings = {}
        for key in LaneSettings.__struct_fields__:
            choices = (getattr(own, key), getattr(of_its_type, key), getattr(self, key))
            settings[key] = next(each for each in choices if each is not None)
        return LaneSettings(**settings)
