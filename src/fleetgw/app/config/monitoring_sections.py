"""The section ``monitoring``."""

from typing import Annotated

from msgspec import Meta

from fleetgw.adapters.settings.values import ZERO_IS_LEFT_OUT, Natural, Port, Settings


class Statsd(Settings, frozen=True, kw_only=True):
    """Metrics for a StatsD server by UDP, with or without Prometheus."""

    host: Annotated[str, Meta(description="`host:port` of the server; empty: off.")] = ""
    prefix: Annotated[str, Meta(description="Stands before every name as it is, such as `fleet.`.")] = ""
    sample_rate: Annotated[
        int,
        Meta(
            ge=0,
            le=100,
            description="Percentage of the counters' increments that are sent; the server is told and scales them; 0: all.",
            extra=ZERO_IS_LEFT_OUT,
        ),
    ] = 100
    flush_period: Annotated[
        Natural, Meta(description="Milliseconds between sends; 0: the default.", extra=ZERO_IS_LEFT_OUT)
    ] = 100


class Monitoring(Settings, frozen=True, kw_only=True):
    """Metrics and profiling."""

    prometheus_metrics_port: Annotated[Port, Meta(description="Port of `GET /metrics`; 0: off.")] = 0
    prometheus_metrics_host: Annotated[str, Meta(description="Address that `GET /metrics` listens on.")] = "127.0.0.1"
    profiler_port: Annotated[Port, Meta(description="Port of the profiler; 0: off.")] = 0
    profiler_host: Annotated[
        str,
        Meta(
            description="Address that the profiler listens on. Everyone who reaches it can read the program's state.",
            extra={"as_left_out": ("",)},
        ),
    ] = "127.0.0.1"
    profiling_path: Annotated[
        str,
        Meta(description="File that `/live_profiler` writes, relative to the working directory; empty: that page is off."),
    ] = ""
    statsd: Annotated[Statsd | None, Meta(description="Metrics to a StatsD server.")] = None
